"""What every source of teachers must do. A new one joins by adding how to store the network to `SOURCES`."""

from __future__ import annotations

import copy
import pickle
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import nn

from edgekd import child, registry
from edgekd.datasets import Dataset, Split
from edgekd.errors import ModelError
from edgekd.progress import Silent
from edgekd.records import AugmentationTerm, DistillSpec
from edgekd.stages.distill.caching import fill, open_cache
from edgekd.stages.distill.teachers import teacher_of
from edgekd.stages.distill.views import Views

INPUT_SHAPE, OUTPUTS = (3, 8, 12), 5
# Sums in another order, of numbers below 10.
TOLERANCE = 2e-5


def network() -> nn.Sequential:
    """A convolution with stride, a batch norm that is not trivial, another convolution, pooling, a linear layer."""
    torch.manual_seed(5)
    built = nn.Sequential(
        nn.Conv2d(3, 6, 3, stride=2, bias=False),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.Conv2d(6, 8, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, OUTPUTS),
    )
    built(3 + 2 * torch.randn(64, *INPUT_SHAPE))
    return built.eval()


def keras_network(built: nn.Sequential) -> Any:
    """The same in Keras, from the layers' own documentation: weights HWIO, samples HWC."""
    import keras  # takes seconds, so not when tests are collected

    convolution, norm, pointwise, linear = (built.get_submodule(name).state_dict() for name in "0136")
    twin = keras.Sequential(
        [
            keras.layers.Input((*INPUT_SHAPE[1:], INPUT_SHAPE[0])),
            keras.layers.Conv2D(6, 3, strides=2, use_bias=False),
            keras.layers.BatchNormalization(epsilon=1e-5),
            keras.layers.ReLU(),
            keras.layers.Conv2D(8, 1),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dropout(0.5),  # nothing in a teacher
            keras.layers.Dense(OUTPUTS),
        ]
    )
    weights = [
        convolution["weight"].permute(2, 3, 1, 0),
        *(norm[name] for name in ("weight", "bias", "running_mean", "running_var")),
        *(pointwise["weight"].permute(2, 3, 1, 0), pointwise["bias"]),
        *(linear["weight"].T, linear["bias"]),
    ]
    twin.set_weights([each.numpy() for each in weights])
    return twin


def exported(file: Path) -> Path:
    child.call(
        "the converter",
        registry.function("exporters", file.suffix[1:]),
        network=network(),
        example=np.zeros((1, *INPUT_SHAPE), np.float32),
        path=file,
    )
    return file


def torch_weights(file: Path) -> Path:
    save_file(network().state_dict(), file)
    return file


def saved_model(folder: Path) -> Path:
    with warnings.catch_warnings():  # of Keras about itself, when it writes
        warnings.simplefilter("ignore")
        keras_network(network()).export(str(folder), verbose=False)
    return folder


def keras_file(file: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        keras_network(network()).save(str(file))
    return file


# A name for the test: the source, and what makes the file.
SOURCES: dict[str, tuple[str, str, Callable[[Path], Path]]] = {
    "torch": ("torch", "weights.safetensors", torch_weights),
    "onnx": ("onnx", "model.onnx", exported),
    "tflite": ("tflite", "model.tflite", exported),
    "keras": ("keras", "model.keras", keras_file),
    "keras h5": ("keras", "model.h5", keras_file),
    "SavedModel": ("keras", "saved", saved_model),
}
# TensorFlow takes seconds to start, in the trial's process each time; LiteRT's converter too.
SLOW = ("tflite", "keras", "keras h5", "SavedModel")
NATIVE = [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in SOURCES if name != "torch"]
ALL = [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in SOURCES]


class Files:
    """Makes each file when a test asks for it, and opens it once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.opened: dict[str, nn.Module] = {}

    def __getitem__(self, name: str) -> Path:
        file = self.folder / name.replace(" ", "-") / SOURCES[name][1]
        if not file.exists():
            file.parent.mkdir()
            SOURCES[name][2](file)
        return file

    def teacher(self, name: str) -> nn.Module:
        if name not in self.opened:
            self.opened[name] = loaded(name, self[name])
        return self.opened[name]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return Files(tmp_path_factory.mktemp("teachers"))


def loaded(name: str, file: Path, **changes: Any) -> nn.Module:
    source = SOURCES[name][0]
    known = {"weights": file, "outputs": OUTPUTS, "input_shape": INPUT_SHAPE, **changes}
    if source == "torch":
        known = {"network": network().train(), "weights": file}
    found: nn.Module = registry.function("teachers", source)(**known)
    return found


@pytest.fixture(scope="module")
def samples() -> NDArray[np.float32]:
    return (3 + 2 * np.random.default_rng(2).normal(size=(7, *INPUT_SHAPE))).astype(np.float32)


@pytest.fixture(scope="module")
def expected(samples: NDArray[np.float32]) -> NDArray[np.float64]:
    """In NumPy and float64, from the layers' definitions."""
    layers = {name: value.double().numpy() for name, value in network().state_dict().items()}
    windows = np.lib.stride_tricks.sliding_window_view(samples.astype(np.float64), (3, 3), (2, 3))[:, :, ::2, ::2]
    found = np.einsum("bchwij,ocij->bohw", windows, layers["0.weight"])
    scale = layers["1.weight"] / np.sqrt(layers["1.running_var"] + 1e-5)
    shift = layers["1.bias"] - layers["1.running_mean"] * scale
    found = np.maximum(found * scale[:, None, None] + shift[:, None, None], 0)
    found = np.einsum("bchw,oc->bohw", found, layers["3.weight"][:, :, 0, 0]).mean((2, 3)) + layers["3.bias"]
    return np.asarray(found @ layers["6.weight"].T + layers["6.bias"])


@pytest.mark.parametrize("name", ALL)
def test_the_same_network_gives_the_same_outputs(
    files: Files, name: str, samples: NDArray[np.float32], expected: NDArray[np.float64]
) -> None:
    for count in (7, 1, 4, 7):  # any batch, and back
        with torch.inference_mode():
            found = files.teacher(name)(torch.from_numpy(samples[:count]))
        assert (found.dtype, tuple(found.shape)) == (torch.float32, (count, OUTPUTS))
        np.testing.assert_allclose(found.numpy(), expected[:count], atol=TOLERANCE, rtol=TOLERANCE)


@pytest.mark.parametrize("name", ALL)
def test_the_same_network_gives_the_same_cache(files: Files, name: str) -> None:
    chance = np.random.default_rng(3)
    split = Split(inputs=chance.integers(0, 255, (40, *INPUT_SHAPE), np.uint8), labels=np.arange(40) % OUTPUTS)
    data = Dataset(classes=tuple("abcde"), scale=1 / 32, train=split, validation=split, test=split)
    moved = (AugmentationTerm(name="shift", options={"max_pixels": 1}),)
    spec = DistillSpec(views=2, augmentations=moved, mixed_precision="off")
    views = Views(split, data, moved, 0, torch.device("cpu"))
    teacher = teacher_of(files.teacher(name), name="teacher", weight=1.0, outputs=OUTPUTS)
    cache, _ = fill(open_cache(teacher, views, spec), teacher, views, Silent(), fast=False)
    for view in range(2):
        with torch.inference_mode():
            wanted = network()(views.batch(torch.arange(40), view).inputs).double().numpy()
        found = cache.read(view, np.arange(40))
        # Rounded to the 11 bits that float16 keeps.
        assert np.abs(found - wanted).max() <= TOLERANCE + np.abs(wanted).max() * 2.0**-11


@pytest.mark.parametrize("name", ALL)
def test_it_is_frozen_and_says_the_same_twice(files: Files, name: str, samples: NDArray[np.float32]) -> None:
    teacher, inputs = files.teacher(name), torch.from_numpy(samples)
    assert not any(module.training for module in teacher.modules())
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
    first = teacher(inputs)
    assert torch.equal(first, teacher(inputs))
    assert not first.requires_grad
    assert torch.equal(teacher(inputs.flip(-1).flip(-1)), first)  # not contiguous on the way
    assert torch.equal(inputs, torch.from_numpy(samples))


@pytest.mark.parametrize("name", NATIVE)
def test_copies_and_pickles_work_and_are_known_as_the_same(
    files: Files, name: str, samples: NDArray[np.float32]
) -> None:
    teacher: Any = files.teacher(name)
    inputs = torch.from_numpy(samples)
    for other in (copy.deepcopy(teacher), pickle.loads(pickle.dumps(teacher))):  # noqa: S301 - our own
        torch.testing.assert_close(other(inputs), teacher(inputs))
        assert other.fingerprint() == teacher.fingerprint()
    assert len(teacher.fingerprint()) == 64


@pytest.mark.parametrize("name", NATIVE)
def test_a_pickle_notices_another_file(files: Files, name: str, tmp_path: Path) -> None:
    here = tmp_path / files[name].name
    if files[name].is_dir():
        here.mkdir()
        for each in files[name].rglob("*"):
            target = here / each.relative_to(files[name])
            target.mkdir() if each.is_dir() else target.write_bytes(each.read_bytes())
    else:
        here.write_bytes(files[name].read_bytes())
    kept = pickle.dumps(loaded(name, here))
    largest = max((each for each in [here, *here.rglob("*")] if each.is_file()), key=lambda each: each.stat().st_size)
    largest.write_bytes(largest.read_bytes() + b"\0")
    with pytest.raises(ModelError, match="another one than when the teacher was loaded"):
        pickle.loads(kept)  # noqa: S301 - our own


@pytest.mark.slow
@pytest.mark.parametrize("name", NATIVE)
def test_what_does_not_fit_is_named_on_both_sides(files: Files, name: str) -> None:
    with pytest.raises(ModelError, match=r"\(3, 9, 9\)") as caught:
        loaded(name, files[name], input_shape=(3, 9, 9))
    assert {"8", "12"} <= set(re.findall(r"\d+", caught.value.what))
    with pytest.raises(ModelError, match=r"gives 5 numbers per sample.*asks for 10"):
        loaded(name, files[name], outputs=10)
    with pytest.raises(ModelError, match="no output 'features'; allowed: "):
        loaded(name, files[name], output_name="features")
    with pytest.raises(ModelError, match=r"inputs of shape \(3, 12, 8\).*allowed: \(3, 8, 12\)"):
        files.teacher(name)(torch.zeros(1, 3, 12, 8))


@pytest.mark.parametrize("name", ["torch", *NATIVE])
def test_bad_files_give_one_line(files: Files, name: str, tmp_path: Path) -> None:
    file = tmp_path / files[name].name
    texts = [message(name, file)]
    assert "no such f" in texts[0]
    inside = file
    if files[name].is_dir():
        file.mkdir()
        texts.append(message(name, file))
        assert "no saved_model.pb" in texts[-1]
        inside = file / "saved_model.pb"
        whole = (files[name] / "saved_model.pb").read_bytes()
    else:
        whole = files[name].read_bytes()
    chance = np.random.default_rng(8)
    garbled = bytearray(whole)
    for position in chance.integers(0, len(whole), 400):
        garbled[position] = chance.integers(256)
    contents = (b"", b"hello", chance.bytes(3000), whole[: len(whole) // 2], bytes(garbled))
    for content in contents[:: 3 if name == "SavedModel" else 1]:
        inside.write_bytes(content)
        texts.append(message(name, file))
    for text in texts:
        assert "\n" not in text
        assert text.startswith(str(file))
        assert len(text) < 700


def message(name: str, file: Path) -> str:
    with pytest.raises(ModelError) as caught:
        loaded(name, file)
    return str(caught.value)
