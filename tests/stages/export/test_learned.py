"""What was learned with rounding is in the files: ranges, weights and outputs, as LiteRT and ONNX Runtime see them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import nn
from torch.nn import functional

from edgekd import inspection
from edgekd.records import CorrectionTerm, ExportSpec, Model, Preprocessing, QuantSpec
from edgekd.simulation import Quantized, fold, observe, simulate
from edgekd.stages.export import Exported, export
from edgekd.stages.export.learned import Learned
from edgekd.stages.export.watching import exact_session

# Files of both formats are made and searched for: most of a minute.
pytestmark = pytest.mark.slow

STATIC, FOUR = "static_wi8_ai8", "weight_only_wi4_afp32"
CLASSES = 5
RANDOM = np.random.default_rng(0)
CENTRES = RANDOM.normal(size=(CLASSES, 2, 12, 12))
LABELS = RANDOM.integers(0, CLASSES, 400)
INPUTS = (CENTRES[LABELS] + 2.5 * RANDOM.normal(size=(400, 2, 12, 12))).astype(np.float32)
LEARNED, CHECK = INPUTS[:200], INPUTS[200:]
Array = NDArray[np.float32]


class Student(nn.Module):
    """A ReLU that nothing is fused with, a ReLU6, a maximum, an addition and an average: all that shares ranges."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(2, 24, 3, padding=1), nn.BatchNorm2d(24)
        self.same = nn.Conv2d(24, 24, 3, padding=1)
        self.linear = nn.Linear(24, CLASSES)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        x = functional.max_pool2d(functional.relu6(self.norm(self.stem(inputs))), 2)
        x = functional.relu(x + self.same(x))
        logits: torch.Tensor = self.linear(functional.avg_pool2d(x, 6).flatten(1))
        return logits


def train(network: nn.Module, steps: int, rate: float) -> None:
    optimizer = torch.optim.Adam(network.parameters(), rate)
    inputs, labels = torch.from_numpy(LEARNED), torch.from_numpy(LABELS[:200])
    for _ in range(steps):
        optimizer.zero_grad()
        functional.cross_entropy(network(inputs), labels).backward()  # type: ignore[no-untyped-call]  # torch
        optimizer.step()


@dataclass(frozen=True)
class Case:
    student: nn.Module
    quantized: Quantized
    made: Exported

    def model(self, name: str) -> Model:
        return next(model for model in self.made.models if model.name == f"student.{name}")

    def parity(self, name: str) -> float:
        (found,) = (
            each for each in self.made.measurements if (each.model, each.metric) == (f"student.{name}", "parity")
        )
        return float(np.mean(found.samples))


def make(precision: str, folder: Path, spec: ExportSpec) -> Case:
    """Train a student, let it learn on until it predicts something else, and export it."""
    torch.manual_seed(0)
    student = Student()
    train(student, 30, 1e-2)
    folded = fold(student.eval(), LEARNED[:2])
    simulated = simulate(folded, precision, ranges=observe(folded, LEARNED))
    with torch.no_grad():
        # Another student altogether: files of the plain one would be found out.
        simulated.get_parameter("linear.bias").copy_(torch.linspace(-1, 1, CLASSES))
    train(simulated, 20, 5e-3)
    quantized = replace(Quantized.of(simulated, precision), sha256="7" * 64)
    made = export(
        student,
        quantized=quantized,
        folder=folder,
        spec=spec,
        calibration=LEARNED,
        check=CHECK,
        parent_sha256="0" * 64,
    )
    return Case(student=student, quantized=quantized, made=made)


@pytest.fixture(scope="session")
def static(tmp_path_factory: pytest.TempPathFactory) -> Case:
    spec = ExportSpec(
        precisions=("fp32", STATIC, "weight_only_wi8_afp32.onnx"),
        calibration=QuantSpec(samples=64),
        corrections=(CorrectionTerm(name="bias_correction"),),
    )
    return make(STATIC, tmp_path_factory.mktemp("static"), spec)


@pytest.fixture(scope="session")
def four(tmp_path_factory: pytest.TempPathFactory) -> Case:
    return make(FOUR, tmp_path_factory.mktemp("four"), ExportSpec(formats=("tflite",), precisions=(FOUR,)))


def plain(network: nn.Module, inputs: Array) -> Array:
    with torch.inference_mode():
        outputs: Array = network(torch.from_numpy(inputs)).numpy()
    return outputs


def run(path: Path, inputs: Array) -> Array:
    """Run a file, apart from the code under test."""
    if path.suffix == ".onnx":
        session = exact_session(onnx.load(str(path)))
        return np.asarray(session.run(None, {"input": inputs})[0], np.float32)
    interpreter = Interpreter(str(path))
    interpreter.allocate_tensors()
    taken, given = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    found = []
    for sample in np.moveaxis(inputs, 1, -1):
        scale, zero = taken["quantization"]
        values = np.clip(np.rint(sample / scale + zero), -128, 127) if scale else sample
        interpreter.set_tensor(taken["index"], values[None].astype(taken["dtype"]))
        interpreter.invoke()
        raw = interpreter.get_tensor(given["index"])[0].astype(np.float32)
        scale, zero = given["quantization"]
        found.append((raw - zero) * scale if scale else raw)
    return np.stack(found).astype(np.float32)


def scales_in(path: Path) -> list[tuple[float, int]]:
    """Scale and zero point of every activation of a file."""
    if path.suffix == ".tflite":
        interpreter = Interpreter(str(path))
        interpreter.allocate_tensors()
        details = [each["quantization"] for each in interpreter.get_tensor_details()]
        return [(float(scale), int(zero)) for scale, zero in details if scale]
    model = onnx.load(str(path))
    constants = {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}
    nodes = [node for node in model.graph.node if node.op_type == "QuantizeLinear"]
    return [(float(constants[node.input[1]]), int(constants[node.input[2]])) for node in nodes]


@pytest.mark.parametrize("format_name", ["onnx", "tflite"])
def test_the_file_gives_what_the_simulation_gives(static: Case, format_name: str) -> None:
    path = static.model(f"{STATIC}.{format_name}").path
    file, simulated = run(path, CHECK), static.quantized.outputs(CHECK)
    low, high = static.quantized.ranges["linear"]
    steps = np.abs(file - simulated) / ((high - low) / 255)
    assert (steps <= 1.01).mean() >= 0.995
    assert steps.max() <= 2.01
    assert (file.argmax(1) == simulated.argmax(1)).mean() >= 0.99
    assert static.parity(f"{STATIC}.{format_name}") == (file.argmax(1) == simulated.argmax(1)).mean()
    # The student that did not learn on predicts something else, and the float32 file is of it.
    student = plain(static.student, CHECK)
    assert (student.argmax(1) == simulated.argmax(1)).mean() < 0.95
    np.testing.assert_allclose(run(static.model(f"fp32.{format_name}").path, CHECK), student, atol=1e-4)


@pytest.mark.parametrize("format_name", ["onnx", "tflite"])
def test_learned_ranges_are_in_the_file(static: Case, format_name: str) -> None:
    found = scales_in(static.model(f"{STATIC}.{format_name}").path)
    observed = observe(static.quantized.network, LEARNED)
    assert set(static.quantized.ranges) == {"input", "stem", "same", "add", "linear"}
    for site, (low, high) in static.quantized.ranges.items():
        scale = (high - low) / 255
        zero = round(-128 - low / scale)
        assert any(abs(each / scale - 1) < 1e-5 and each_zero == zero for each, each_zero in found), site
        # They are no ranges that anyone measures.
        assert abs((observed[site][1] - observed[site][0]) / (high - low) - 1) > 1e-3, site


@pytest.mark.parametrize("format_name", ["onnx", "tflite"])
def test_integers_are_real_and_nothing_of_the_simulation_is_left(static: Case, format_name: str) -> None:
    anatomy = inspection.inspect(static.model(f"{STATIC}.{format_name}").path)
    kinds = {name for name, _ in anatomy.operators}
    assert not any("FAKE" in kind.upper() for kind in kinds)
    expected = {
        "onnx": {"QuantizeLinear", "DequantizeLinear", "Conv", "MaxPool", "Add", "Relu", "Clip", "AveragePool"},
        "tflite": {"CONV_2D", "MAX_POOL_2D", "ADD", "AVERAGE_POOL_2D", "FULLY_CONNECTED"},
    }[format_name]
    assert kinds - {"Gemm", "Flatten", "Reshape", "RESHAPE"} <= expected
    weights = [layer for layer in anatomy.layers if layer.weight_dtype]
    assert len(weights) == 3
    assert {layer.weight_dtype for layer in weights} == {"int8"}


def test_weights_are_the_integers_that_were_learned(static: Case) -> None:
    model = onnx.load(str(static.model(f"{STATIC}.onnx").path))
    stored = [numpy_helper.to_array(each) for each in model.graph.initializer]
    for path in ("stem", "same", "linear"):
        weights = static.quantized.network.get_parameter(f"{path}.weight").detach().double().numpy()
        steps = np.abs(weights).reshape(len(weights), -1).max(1).reshape(-1, *[1] * (weights.ndim - 1)) / 127
        expected = np.round(weights / steps)
        assert np.abs(weights / steps - expected).max() < 1e-3, path
        same = [each for each in stored if each.dtype == np.int8 and each.size == expected.size]
        assert any(each.shape == expected.shape and np.array_equal(each, expected) for each in same) or any(
            np.array_equal(each.T, expected) for each in same
        ), path


def test_four_bit_weights_are_in_the_file(four: Case) -> None:
    file = run(four.model(f"{FOUR}.tflite").path, CHECK)
    np.testing.assert_allclose(file, four.quantized.outputs(CHECK), atol=1e-3)
    assert np.abs(file - plain(four.student, CHECK)).max() > 0.1
    assert four.parity(f"{FOUR}.tflite") == 1.0


def test_what_is_learned_is_not_corrected_and_has_its_own_parent(static: Case) -> None:
    assert [each.precision for each in static.made.corrections] == ["weight_only_wi8_afp32"]
    parents = {model.name: model.parent_sha256 for model in static.made.models}
    assert {name for name, sha256 in parents.items() if sha256 == "7" * 64} == {
        f"student.{STATIC}.onnx",
        f"student.{STATIC}.tflite",
    }
    assert {sha256 for name, sha256 in parents.items() if STATIC not in name} == {"0" * 64}


def test_an_average_has_its_input_s_range(static: Case) -> None:
    learned = Learned.of(static.quantized, CHECK, raw=CHECK)
    assert learned.ranges["avg_pool2d"] == learned.ranges["add"] == static.quantized.ranges["add"]
    assert learned.ranges["stem"][1] <= 6  # what a ReLU6 gives
    assert learned.ranges["stem"][0] == learned.ranges["add"][0] == 0


@pytest.mark.parametrize(
    "done",
    [
        Preprocessing(scale=1 / 8),
        Preprocessing(mean=(1.0, -2.0), deviation=(4.0, 4.0)),
    ],
)
def test_files_that_take_raw_values_have_the_learned_ranges_too(
    static: Case, done: Preprocessing, tmp_path: Path
) -> None:
    shape = (1, -1, 1, 1)
    mean, deviation = (np.reshape(each, shape) for each in (done.mean or (0.0,), done.deviation or (1.0,)))
    calibration, check = ((each / done.scale * deviation + mean).astype(np.float32) for each in (LEARNED, CHECK))
    made = export(
        static.student,
        quantized=static.quantized,
        folder=tmp_path,
        spec=ExportSpec(precisions=(STATIC,), calibration=QuantSpec(samples=200)),
        calibration=calibration,
        check=check,
        preprocessing=done,
    )
    for measured in made.measurements:
        if measured.metric == "parity":
            # One step of the raw input's range is not one of the learned range.
            assert np.mean(measured.samples) >= (0.99 if not done.mean else 0.95)
    if not done.mean:
        (model,) = (each for each in made.models if each.format == "tflite")
        low, high = static.quantized.ranges["input"]
        assert model.inputs[0].scale == pytest.approx((high - low) / 255 * 8, rel=1e-5)
