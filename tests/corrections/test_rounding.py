"""AdaRound against every possible rounding, and its weights in the exporters' quantizers."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import fx, nn

from edgekd import child, registry
from edgekd.corrections.rounding import correct
from edgekd.errors import ConfigError, DataError
from edgekd.records import QuantizationPlan
from edgekd.simulation import batches, fold, observe, simulate

W4, W8 = "weight_only_wi4_afp32", "static_wi8_ai8"
IMAGES = (np.random.default_rng(0).normal(size=(96, 2, 8, 8)).cumsum(axis=3) / 4).astype(np.float32)
# Quick, and enough to see what it does.
OPTIONS: dict[str, Any] = {"iterations": 300, "batch_size": 16}


def network() -> fx.GraphModule:
    torch.manual_seed(0)
    layers = nn.Sequential(
        nn.Conv2d(2, 6, 3), nn.ReLU(), nn.Conv2d(6, 6, 3, groups=6), nn.ReLU6(), nn.Flatten(), nn.Linear(96, 4)
    )
    return fold(layers, IMAGES[:1])


@pytest.fixture(scope="module")
def rounded() -> dict[str, fx.GraphModule]:
    return {each: correct(network=network(), samples=IMAGES, precision=each, **OPTIONS) for each in (W4, W8)}


def outputs_of(built: fx.GraphModule) -> NDArray[np.float32]:
    with torch.no_grad():
        return torch.cat([built(batch) for batch in batches(IMAGES)]).numpy()


def error_of(built: fx.GraphModule, precision: str) -> float:
    simulated = simulate(built, precision, ranges=observe(network(), IMAGES))
    return float(np.square(outputs_of(simulated) - outputs_of(network())).mean())


def integers_of(built: fx.GraphModule, path: str, bits: int) -> NDArray[np.float64]:
    """As a min-max quantizer finds them, not rounded."""
    layer: Any = built.get_submodule(path)
    weights = layer.weight.detach().double().numpy()
    largest = np.abs(weights).max(axis=tuple(range(1, weights.ndim)), keepdims=True)
    return np.asarray(weights / largest * (2 ** (bits - 1) - 1))


@pytest.mark.parametrize(("precision", "bits"), [(W4, {"0": 4, "2": 8, "5": 4}), (W8, {"0": 8, "2": 8, "5": 8})])
def test_weights_lie_on_the_grid_that_a_min_max_quantizer_finds(
    rounded: dict[str, fx.GraphModule], precision: str, bits: dict[str, int]
) -> None:
    for path, each in bits.items():
        integers = integers_of(rounded[precision], path, each)
        np.testing.assert_allclose(integers, np.round(integers), atol=2e-5)
        # Float weights do not.
        floats = integers_of(network(), path, each)
        assert np.abs(floats - np.round(floats)).max() > 0.3


def test_four_bits_lose_less_than_rounded_to_nearest(rounded: dict[str, fx.GraphModule]) -> None:
    assert error_of(rounded[W4], W4) < error_of(network(), W4) / 3


def test_eight_bits_lose_no_more(rounded: dict[str, fx.GraphModule]) -> None:
    assert error_of(rounded[W8], W8) <= error_of(network(), W8) * 1.01


def test_the_choice_is_the_best_of_all() -> None:
    """Brute force over every way to round up or down."""
    random = np.random.default_rng(5)
    weights = np.hstack([np.full((8, 1), 7.0), random.uniform(-6, 6, size=(8, 7))]).astype(np.float32)
    # Correlated inputs, for which the sum of the errors matters and not each of them.
    samples = (random.normal(size=(256, 8)) * 0.3 + random.normal(size=(256, 1))).astype(np.float32)
    built = nn.Linear(8, 8, bias=False)
    with torch.no_grad():
        built.weight.copy_(torch.from_numpy(weights))
    given = correct(network=fold(nn.Sequential(built), samples[:1]), samples=samples, precision=W4)
    layer: Any = given.get_submodule("0")
    learned, best, nearest = [], [], []
    for row, rounded_row in zip(weights.astype(np.float64), layer.weight.tolist(), strict=True):
        scale = max(map(abs, rounded_row)) / 7
        steps = np.clip(row / scale, -7, 7)
        ends = [(np.round(each),) if abs(np.round(each)) == 7 else (np.floor(each), np.ceil(each)) for each in steps]
        errors = [
            float(np.square(samples @ (np.array(candidate) * scale - row)).mean())
            for candidate in (np.array(rounded_row) / scale, np.round(steps), *itertools.product(*ends))
        ]
        learned.append(errors[0])
        nearest.append(errors[1])
        best.append(min(errors[2:]))
    assert sum(learned) <= 1.05 * sum(best)
    assert sum(learned) < sum(nearest) / 3


@pytest.mark.slow
def test_the_seed_decides(rounded: dict[str, fx.GraphModule]) -> None:
    same = correct(network=network(), samples=IMAGES, precision=W4, **OPTIONS)
    assert all(torch.equal(value, same.state_dict()[key]) for key, value in rounded[W4].state_dict().items())
    other = correct(network=network(), samples=IMAGES, precision=W4, seed=1, **OPTIONS)
    assert any(not torch.equal(value, other.state_dict()[key]) for key, value in rounded[W4].state_dict().items())


def test_biases_and_the_network_itself_stay(rounded: dict[str, fx.GraphModule]) -> None:
    for key, value in network().state_dict().items():
        assert torch.equal(rounded[W4].state_dict()[key], value) == key.endswith("bias")


def test_weights_that_stay_float_are_left_alone() -> None:
    given = correct(network=network(), samples=IMAGES, precision="fp16", **OPTIONS)
    assert all(torch.equal(value, given.state_dict()[key]) for key, value in network().state_dict().items())


@pytest.mark.parametrize("format_name", ["tflite", pytest.param("onnx", marks=pytest.mark.slow)])
def test_quantizers_of_both_formats_keep_every_integer(
    rounded: dict[str, fx.GraphModule], format_name: str, tmp_path: Path
) -> None:
    built = rounded[W8]

    def weights_in_file() -> list[NDArray[np.float64]]:
        source, path = tmp_path / f"float.{format_name}", tmp_path / f"int8.{format_name}"
        registry.function("exporters", format_name)(network=built, example=IMAGES[:1], path=source)
        # Weights alone: what they are does not depend on ranges.
        plan = QuantizationPlan(precision="weight_only_wi8_afp32")
        registry.function("quantizers", format_name)(source=source, plan=plan, path=path)
        return {"tflite": integers_in_tflite, "onnx": integers_in_onnx}[format_name](path)

    found = child.call("the exporter", weights_in_file)
    for path in ("0", "2", "5"):
        expected = np.round(integers_of(built, path, 8))
        # Formats order dimensions differently.
        assert any(
            each.size == expected.size and np.array_equal(np.sort(each.ravel()), np.sort(expected.ravel()))
            for each in found
        ), path


def integers_in_tflite(path: Path) -> list[NDArray[np.float64]]:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path))
    interpreter.allocate_tensors()
    details = [each for each in interpreter.get_tensor_details() if each["dtype"] is np.int8]
    return [interpreter.get_tensor(each["index"]).astype(np.float64) for each in details]


def integers_in_onnx(path: Path) -> list[NDArray[np.float64]]:
    import onnx

    tensors = [onnx.numpy_helper.to_array(each) for each in onnx.load(str(path)).graph.initializer]
    return [each.astype(np.float64) for each in tensors if each.dtype == np.int8]


@pytest.mark.parametrize(
    ("option", "value"), [("iterations", 0), ("batch_size", 0), ("learning_rate", 0.0), ("learning_rate", float("nan"))]
)
def test_options_out_of_range_are_refused(option: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"correction rounding: {option} = {value}"):
        correct(network=network(), samples=IMAGES, precision=W4, **{option: value})  # type: ignore[arg-type]


def test_no_samples_are_refused() -> None:
    with pytest.raises(DataError, match="no samples"):
        correct(network=network(), samples=IMAGES[:0], precision=W4)
