"""Simulated networks against the files that LiteRT and ONNX Runtime run, and what training makes of them."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, fx, nn
from torch.nn import functional

from edgekd import child, registry
from edgekd.errors import ExportError
from edgekd.records import QuantizationPlan
from edgekd.simulation import (
    FakeQuantizer,
    activations,
    batches,
    fake_quantizers,
    fold,
    observe,
    operators,
    ranges,
    set_ranges,
    simulate,
    strip,
)
from edgekd.stages.export.calibrating import match
from edgekd.stages.export.watching import watch
from tests.exact import run_exactly

STATIC = "static_wi8_ai8"
Array = NDArray[np.float32]


class Mixed(nn.Module):
    """What ResNets have not: a concatenation, averages, a depthwise convolution, a ReLU6 and a softmax."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(1, 4, 1)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.linear = nn.Linear(8 * 49, 10)

    def forward(self, inputs: Tensor) -> Tensor:
        x = functional.max_pool2d(inputs, 2)
        x = torch.cat([functional.relu6(self.left(x)), self.right(x)], dim=1)
        x = functional.avg_pool2d(functional.relu(self.depthwise(x)), 2)
        return functional.softmax(self.linear(x.flatten(1)), dim=1)


@dataclass(frozen=True)
class Exported:
    """A network that was trained with simulated rounding, and its files.

    Attributes:
        folded: Without the rounding.
        ranges: As learned.
        tensors: By format, for each activation of the file the operator that gives it.
        outputs: By name of the file, of `images`.
    """

    folded: fx.GraphModule
    ranges: dict[str, tuple[float, float]]
    tensors: dict[str, dict[str, str | None]]
    outputs: dict[str, Array]
    images: Array


def images_of(folder: Path) -> tuple[Array, NDArray[np.int64], Array]:
    with np.load(next((folder / "fashion_mnist").glob("*.npz"))) as archive:
        train, labels, test = (archive[key] for key in ("x_train", "y_train", "x_test"))
    ready = [(each.astype(np.float32) / 255)[:, None] for each in (train[:2048], test[:400])]
    return ready[0], labels[:2048].astype(np.int64), ready[1]


def train(network: nn.Module, images: Array, labels: NDArray[np.int64], *, epochs: int, rate: float) -> None:
    adam = torch.optim.Adam(network.parameters(), rate)
    for _ in range(epochs):
        for start in range(0, len(images), 64):
            chosen = slice(start, start + 64)
            loss = functional.cross_entropy(network(torch.from_numpy(images[chosen])), torch.from_numpy(labels[chosen]))
            adam.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            adam.step()


def run_tflite(path: Path, images: Array) -> Array:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path))
    interpreter.allocate_tensors()
    taken, given = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    outputs = []
    for image in images.transpose(0, 2, 3, 1):
        scale, zero_point = taken["quantization"]
        ready: NDArray[Any] = image[None]
        if scale:
            limits = np.iinfo(taken["dtype"])
            ready = np.clip(np.round(ready / scale) + zero_point, limits.min, limits.max).astype(taken["dtype"])
        interpreter.set_tensor(taken["index"], ready)
        interpreter.invoke()
        scale, zero_point = given["quantization"]
        raw = interpreter.get_tensor(given["index"])[0].astype(np.float32)
        outputs.append((raw - zero_point) * scale if scale else raw)
    return np.stack(outputs).astype(np.float32)


def run_onnx(path: Path, images: Array) -> Array:
    return np.asarray(run_exactly(path, images), np.float32)


def export(
    folded: fx.GraphModule,
    learned: dict[str, tuple[float, float]],
    plans: dict[str, tuple[str, str, dict[str, str]]],
    images: Array,
    folder: Path,
) -> Exported:
    """Convert and quantize in one child, with the ranges of the simulation."""
    known = activations(folded, images[:4])

    def make() -> tuple[dict[str, dict[str, str | None]], dict[str, Array]]:
        tensors, outputs = {}, {}
        for format_name in sorted({each[0] for each in plans.values()}):
            source = folder / f"float.{format_name}"
            registry.function("exporters", format_name)(network=folded, example=images[:1], path=source)
            if format_name == "onnx":
                registry.load("quantizers", "onnx").prepare(source, folder / "ready.onnx")
                source = folder / "ready.onnx"
            seen = watch(format_name, source).run(images[:4])
            tensors[format_name] = match(known, seen)
            given = {name: (float(values.min()), float(values.max())) for name, values in seen.items()}
            given |= {name: learned[site] for name, site in tensors[format_name].items() if site in learned}
            for name, (of_format, precision, layers) in plans.items():
                if of_format == format_name:
                    single = {tensor: layers[site] for tensor, site in tensors[format_name].items() if site in layers}
                    plan = QuantizationPlan(precision=precision, ranges=given, layers=single)
                    path = folder / f"{name}.{format_name}"
                    registry.function("quantizers", format_name)(source=source, plan=plan, path=path)
                    outputs[name] = {"tflite": run_tflite, "onnx": run_onnx}[format_name](path, images)
        return tensors, outputs

    tensors, outputs = child.call("the exporter", make)
    return Exported(folded=folded, ranges=learned, tensors=tensors, outputs=outputs, images=images)


@pytest.fixture(scope="session")
def exported(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """A ResNet-8, trained for seconds, and some more with rounding; its ranges are learned, not measured."""
    torch.manual_seed(0)
    images, labels, test = images_of(shared_data)
    network = registry.function("networks", "mlperf_resnet8")(classes=10, input_shape=(1, 28, 28), width=4)
    train(network, images, labels, epochs=3, rate=1e-2)
    folded = fold(network, images[:1])
    simulated = simulate(folded, STATIC, ranges=observe(folded, images[:256]))
    before = ranges(simulated)
    train(simulated, images[:512], labels[:512], epochs=1, rate=1e-3)
    assert ranges(simulated) != before
    plans: dict[str, tuple[str, str, dict[str, str]]] = {
        "int8": ("tflite", STATIC, {}),
        "int16": ("tflite", "static_wi8_ai16", {}),
        "int4": ("tflite", "weight_only_wi4_afp32", {}),
        "half": ("tflite", "fp16", {}),
        "one layer": ("tflite", "fp32", {"stack2.conv1": STATIC}),
        "qdq": ("onnx", STATIC, {}),
    }
    return export(strip(simulated), ranges(simulated), plans, test, tmp_path_factory.mktemp("exported"))


@pytest.fixture(scope="session")
def mixed(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    torch.manual_seed(0)
    images, labels, test = images_of(shared_data)
    network = Mixed()
    train(network, images, labels, epochs=2, rate=1e-2)
    folded = fold(network, images[:1])
    learned = ranges(simulate(folded, STATIC, ranges=observe(folded, images[:256])))
    plans: dict[str, tuple[str, str, dict[str, str]]] = {
        "int8": ("tflite", STATIC, {}),
        "int4": ("tflite", "weight_only_wi4_afp32", {}),
    }
    return export(folded, learned, plans, test, tmp_path_factory.mktemp("mixed"))


def outputs_of(network: fx.GraphModule, images: Array) -> Array:
    with torch.no_grad():
        return torch.cat([network(batch) for batch in batches(images)]).numpy()


@pytest.mark.slow
def test_sites_are_the_activations_of_the_files(exported: Exported, mixed: Exported) -> None:
    for case, left in ((exported, 0), (mixed, 1)):
        assert set(case.ranges) <= set(case.tensors["tflite"].values())
        # And none of the file is missing; what a maximum moved has its input's range.
        assert list(case.tensors["tflite"].values()).count(None) == left
    assert set(exported.ranges) <= set(exported.tensors["onnx"].values())


@pytest.mark.slow
@pytest.mark.slow
@pytest.mark.parametrize("name", ["int8", "qdq"])
def test_learned_ranges_and_weights_give_the_file_of_the_simulation(exported: Exported, name: str) -> None:
    simulated = simulate(exported.folded, STATIC, ranges=exported.ranges)
    given, file = outputs_of(simulated, exported.images), exported.outputs[name]
    floats = outputs_of(exported.folded, exported.images)
    low, high = exported.ranges["linear"]
    scale = (high - low) / 255
    assert (given.argmax(1) == file.argmax(1)).mean() >= 0.99
    assert np.abs(given - file).max() <= 2.01 * scale
    # It is much nearer to the file than the float network is, or it would simulate nothing.
    assert np.abs(given - file).mean() < 0.5 * np.abs(floats - file).mean()


@pytest.mark.slow
def test_concatenations_averages_and_softmax_round_as_in_the_file(mixed: Exported) -> None:
    given = outputs_of(simulate(mixed.folded, STATIC, ranges=mixed.ranges), mixed.images)
    file, floats = mixed.outputs["int8"], outputs_of(mixed.folded, mixed.images)
    assert (given.argmax(1) == file.argmax(1)).mean() >= 0.99
    # Two steps of the logits, which a softmax makes at most a quarter as large each way, and two of its own.
    low, high = mixed.ranges["linear"]
    assert np.abs(given - file).max() <= (high - low) / 255 + 2.01 / 256
    # Most probabilities are far below a step: what is left is the table's rounding, a quarter of a step on average.
    assert np.abs(given - file).mean() < min(0.25 / 256, 0.75 * np.abs(floats - file).mean())


@pytest.mark.slow
def test_sixteen_bits_are_simulated(exported: Exported) -> None:
    given = outputs_of(simulate(exported.folded, "static_wi8_ai16", ranges=exported.ranges), exported.images)
    low, high = exported.ranges["linear"]
    assert np.abs(given - exported.outputs["int16"]).max() <= 10 * max(-low, high) / 32767


@pytest.mark.slow
@pytest.mark.parametrize("name", ["exported", "mixed"])
def test_four_bit_weights_are_those_of_the_file(name: str, request: pytest.FixtureRequest) -> None:
    case: Exported = request.getfixturevalue(name)
    given = outputs_of(simulate(case.folded, "weight_only_wi4_afp32"), case.images)
    np.testing.assert_allclose(given, case.outputs["int4"], atol=1e-4)
    assert np.abs(given - outputs_of(case.folded, case.images)).max() > 1e-2


@pytest.mark.slow
def test_float16_weights_are_those_of_the_file(exported: Exported) -> None:
    given = outputs_of(simulate(exported.folded, "fp16"), exported.images)
    np.testing.assert_allclose(given, exported.outputs["half"], atol=1e-4)


@pytest.mark.slow
def test_one_layer_alone_is_rounded_where_the_file_rounds_it(exported: Exported) -> None:
    layers = {"stack2.conv1": STATIC}
    simulated = simulate(exported.folded, "fp32", ranges=exported.ranges, layers=layers)
    # What it reads and what it gives; others that read the same see floats.
    assert {each.site for each in fake_quantizers(simulated)} == {"stack1.add", "stack2.conv1"}
    given, file = outputs_of(simulated, exported.images), exported.outputs["one layer"]
    floats = outputs_of(exported.folded, exported.images)
    assert np.abs(given - file).mean() < 0.2 * np.abs(floats - file).mean()


def folded_mixed() -> tuple[fx.GraphModule, Array]:
    torch.manual_seed(0)
    images = np.random.default_rng(0).uniform(size=(8, 1, 28, 28)).astype(np.float32)
    return fold(Mixed(), images[:1]), images


def test_neighbours_of_two_precisions_round_twice() -> None:
    folded, images = folded_mixed()
    layers = {"linear": "static_wi8_ai16", "softmax": "fp32"}
    simulated = simulate(folded, STATIC, ranges=observe(folded, images), layers=layers)
    assert [(each.site, each.bits) for each in fake_quantizers(simulated)] == [
        ("input", 8),
        ("cat", 8),
        ("depthwise", 8),
        ("depthwise", 16),
        ("linear", 16),
    ]
    assert torch.isfinite(simulated(torch.from_numpy(images))).all()


def test_a_sum_may_read_a_layer_and_what_that_layer_reads() -> None:
    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.body = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, inputs: Tensor) -> Tensor:
            x = functional.relu(self.stem(inputs))
            total: Tensor = x + self.body(x)
            return total

    torch.manual_seed(0)
    samples = np.random.default_rng(0).normal(size=(64, 4)).astype(np.float32)
    folded = fold(Residual(), samples[:1])
    simulated = simulate(folded, STATIC, ranges=observe(folded, samples), layers={"stem": "fp16"})
    # What the stem gives is rounded for each of both, with one scale.
    assert sorted(each.site for each in fake_quantizers(simulated)) == ["add", "body", "input", "stem"]
    errors = outputs_of(simulated, samples) - outputs_of(folded, samples)
    low, high = observe(folded, samples)["add"]
    assert 0 < np.abs(errors).max() < 5 * (high - low) / 255


def test_ranges_are_read_and_set() -> None:
    folded, images = folded_mixed()
    simulated = simulate(folded, STATIC, ranges=observe(folded, images))
    set_ranges(simulated, {"depthwise": (-1.0, 1.55), "softmax": (0.0, 5.0)})
    given = ranges(simulated)
    assert given["depthwise"] == pytest.approx((0.0, 1.55))  # what a ReLU gives
    assert given["softmax"] == pytest.approx((0.0, 255 / 256))  # the kernel's
    with pytest.raises(ExportError, match=r"no activation 'depthwis'.*did you mean 'depthwise'"):
        set_ranges(simulated, {"depthwis": (0.0, 1.0)})


def test_weights_and_ranges_learn_and_nothing_of_it_is_left() -> None:
    folded, images = folded_mixed()
    simulated: Any = simulate(folded, STATIC, ranges=observe(folded, images))
    before = copy.deepcopy(simulated)
    train(simulated, images, np.arange(8) % 3, epochs=3, rate=1e-2)
    assert not torch.equal(simulated.depthwise.weight, before.depthwise.weight)
    assert ranges(simulated)["depthwise"] != ranges(before)["depthwise"]
    stripped = strip(simulated)
    assert not any(isinstance(each, FakeQuantizer) for each in stripped.modules())
    assert set(dict(stripped.named_parameters())) == set(dict(folded.named_parameters()))
    again = simulate(stripped, STATIC, ranges=ranges(simulated))
    assert np.abs(outputs_of(again, images) - outputs_of(simulated, images)).max() < 1e-5


def test_what_is_not_there_is_named() -> None:
    folded, _ = folded_mixed()
    with pytest.raises(ExportError, match="no range of activation 'input'"):
        simulate(folded, STATIC)
    with pytest.raises(ExportError, match=r"no operator 'depthwis'.*did you mean 'depthwise'"):
        simulate(folded, "fp32", layers={"depthwis": STATIC})


def test_float_precision_changes_nothing() -> None:
    folded, images = folded_mixed()
    assert np.array_equal(outputs_of(simulate(folded, "fp32"), images), outputs_of(folded, images))
    assert list(operators(folded)) == ["input", "left", "right", "cat", "depthwise", "avg_pool2d", "linear", "softmax"]
