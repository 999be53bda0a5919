"""The CIFAR ResNets against published sizes and published weights."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypedDict

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from edgekd import registry
from edgekd.networks import resnet
from edgekd.teachers import torch as torch_teacher

# He et al. 2016, table 6: millions of parameters, with option-A shortcuts.
PUBLISHED_SIZES = {20: 0.27, 32: 0.46, 44: 0.66, 56: 0.85}
PUBLISHED_FILES = {
    20: "resnet20-12fca82f.th",
    32: "resnet32-d509ac18.th",
    44: "resnet44-014dd654.th",
    56: "resnet56-4bfd9763.th",
}


class _Options(TypedDict):
    width: int
    shortcut: Literal["A", "B"]
    padding: Literal["same", "symmetric"]
    stem_stride: int


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize("depth", PUBLISHED_SIZES)
def test_sizes_are_those_of_the_paper(depth: int) -> None:
    network = resnet.build(classes=10, input_shape=(3, 32, 32), depth=depth, shortcut="A")
    assert round(count(network) / 1e6, 2) == PUBLISHED_SIZES[depth]
    convolutions = [each for each in network.modules() if isinstance(each, nn.Conv2d)]
    assert len(convolutions) + 1 == depth


def test_shortcut_b_adds_two_projections_and_their_norms() -> None:
    a, b = (resnet.build(classes=10, input_shape=(3, 32, 32), shortcut=kind) for kind in ("A", "B"))
    assert count(b) - count(a) == 16 * 32 + 2 * 32 + 32 * 64 + 2 * 64


@pytest.mark.parametrize("depth", PUBLISHED_FILES)
def test_published_weights_fit(shared_data: Path, depth: int) -> None:
    network = resnet.build(classes=10, input_shape=(3, 32, 32), depth=depth, shortcut="A", padding="symmetric")
    torch_teacher.load(network=network, weights=shared_data / "resnet_cifar10" / PUBLISHED_FILES[depth])


def test_published_resnet20_knows_its_training_images(shared_data: Path) -> None:
    network = resnet.build(classes=10, input_shape=(3, 32, 32), depth=20, shortcut="A", padding="symmetric")
    teacher = torch_teacher.load(network=network, weights=shared_data / "resnet_cifar10" / PUBLISHED_FILES[20])
    with np.load(shared_data / "cifar10" / "cifar10_lossless_train4000.npz") as arrays:
        images, labels = arrays["x_train_first4000"][:1000], arrays["y_train_first4000"][:1000]
    mean, deviation = (np.array(each, np.float32) for each in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    inputs = torch.from_numpy(((images.astype(np.float32) / 255 - mean) / deviation).transpose(0, 3, 1, 2))
    with torch.no_grad():
        found = torch.cat([teacher(inputs[start : start + 250]) for start in range(0, 1000, 250)]).argmax(1).numpy()
    assert np.mean(found == labels) > 0.97


@settings(max_examples=15, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 4), st.integers(8, 33), st.integers(8, 33)),
    classes=st.integers(1, 12),
    options=st.fixed_dictionaries(
        {
            "width": st.integers(1, 5),
            "shortcut": st.sampled_from(["A", "B"]),
            "padding": st.sampled_from(["same", "symmetric"]),
            "stem_stride": st.integers(1, 2),
        }
    ),
)
def test_any_image_gives_logits_that_do_not_depend_on_the_batch_or_layout(
    shape: tuple[int, int, int],
    classes: int,
    options: _Options,
) -> None:
    torch.manual_seed(0)
    network = resnet.build(classes=classes, input_shape=shape, depth=8, **options).eval()
    images = torch.randn(3, *shape)
    with torch.no_grad():
        logits = network(images)
        assert logits.shape == (3, classes)
        torch.testing.assert_close(network(images[1:2]), logits[1:2], rtol=1e-4, atol=1e-5)
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it
        last = images.to(memory_format=torch.channels_last)
        torch.testing.assert_close(network(last), logits, rtol=1e-4, atol=1e-5)


def test_only_strided_convolutions_pad_apart() -> None:
    network = resnet.build(classes=10, input_shape=(3, 32, 32), depth=8).eval()
    graph = torch.export.export(network, (torch.zeros(1, 3, 32, 32),)).graph
    names = [str(node.target) for node in graph.nodes]
    # 7 convolutions of 3x3, of which the two with stride 2 need an odd padding on 32 and 16 pixels.
    assert sum("pad" in name for name in names) == 2


def test_options_are_read_without_importing() -> None:
    plug_in = registry.describe("networks", "resnet")
    assert "He et al. 2016" in plug_in.summary
    assert [option.name for option in plug_in.parameters] == ["depth", "width", "shortcut", "padding", "stem_stride"]
