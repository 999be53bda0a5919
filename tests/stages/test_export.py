"""The export stage: real conversions of a small residual network, and everything that must stop one."""

import copy
import dataclasses
import gc
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray
from torch import Tensor, nn

from edgekd.errors import ConfigError, DataError, EdgekdError, ExportError, ModelError
from edgekd.progress import Silent
from edgekd.records import CorrectionTerm, ExportSpec, Model, Preprocessing, QuantSpec
from edgekd.stages.export import Exported, export
from edgekd.stages.export.verifying import compare, verify_anatomy, verify_outputs
from edgekd.store import sha256_of
from tests.exact import run_exactly

SHAPE, CLASSES = (3, 16, 12), 5
RANDOM = np.random.default_rng(0)
CENTRES = RANDOM.normal(size=(CLASSES, *SHAPE))
LABELS = RANDOM.integers(0, CLASSES, 200)
INPUTS = (CENTRES[LABELS] + RANDOM.normal(size=(200, *SHAPE))).astype(np.float32)
CALIBRATION, CHECK = INPUTS[:136], INPUTS[136:]
ALL = ExportSpec(precisions=("fp32", "fp16", "static_wi8_ai8"), calibration=QuantSpec(samples=100), raw_input=False)
DENSE = ExportSpec(formats=("onnx",), precisions=("fp32",))


class Residual(nn.Module):
    """Stride 2 padded as TFLite's SAME, batch norm, an addition, a mean: what students are made of."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        self.down = nn.Sequential(
            nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(16, 32, 3, 2, bias=False), nn.BatchNorm2d(32), nn.ReLU()
        )
        self.same = nn.Sequential(nn.Conv2d(32, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32))
        self.linear = nn.Linear(32, CLASSES)

    def forward(self, inputs: Tensor) -> Tensor:
        x = self.down(self.stem(inputs))
        logits: Tensor = self.linear(nn.functional.relu(x + self.same(x)).mean((2, 3)))
        return logits


def train() -> Residual:
    """Few steps are enough for predictions that are no ties."""
    torch.manual_seed(0)
    network = Residual()
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    inputs, labels = torch.from_numpy(CALIBRATION), torch.from_numpy(LABELS[: len(CALIBRATION)])
    for _ in range(12):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(inputs), labels).backward()  # type: ignore[no-untyped-call]  # torch
        optimizer.step()
    return network


def predict(network: nn.Module) -> NDArray[np.float64]:
    """Logits of the check samples, in evaluation mode."""
    with torch.inference_mode():
        logits: NDArray[np.float64] = network.eval()(torch.from_numpy(CHECK)).double().numpy()
    return logits


@dataclasses.dataclass
class Listener(Silent):
    """Writes down what progress it hears of."""

    heard: list[tuple[str, int]] = dataclasses.field(default_factory=list)

    def start(self, task: str, total: int) -> None:
        self.heard.append((task, total))

    def advance(self, count: int = 1) -> None:
        self.heard.append(("advance", count))

    def end(self) -> None:
        self.heard.append(("end", 0))


@dataclasses.dataclass(frozen=True)
class Case:
    student: Residual
    before: dict[str, Tensor]
    folder: Path
    made: Exported
    progress: Listener

    def model(self, name: str) -> Model:
        return next(model for model in self.made.models if model.path.name == f"student.{name}")


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    student, folder, progress = train(), tmp_path_factory.mktemp("export"), Listener()
    before = {name: tensor.clone() for name, tensor in student.state_dict().items()}
    made = export(
        student,
        folder=folder,
        spec=ALL,
        calibration=CALIBRATION,
        check=CHECK,
        parent_sha256="0" * 64,
        preprocessing=Preprocessing(scale=1 / 255),
        progress=progress,
    )
    return Case(student=student, before=before, folder=folder, made=made, progress=progress)


def run(path: Path) -> NDArray[np.float64]:
    """Run a file on the check samples, apart from the code under test."""
    if path.suffix == ".onnx":
        return run_exactly(path, CHECK).astype(np.float64)
    interpreter = Interpreter(str(path))
    interpreter.allocate_tensors()
    taken, given = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    logits = []
    for sample in np.moveaxis(CHECK, 1, -1):
        scale, zero = taken["quantization"]
        values = np.clip(np.rint(sample / scale + zero), -128, 127) if scale else sample
        interpreter.set_tensor(taken["index"], values[None].astype(taken["dtype"]))
        interpreter.invoke()
        scale, zero = given["quantization"]
        raw = interpreter.get_tensor(given["index"])[0].astype(np.float64)
        logits.append((raw - zero) * scale if scale else raw)
    return np.stack(logits)


def test_makes_every_file_and_nothing_else(case: Case) -> None:
    names = [f"student.{precision}.{format_}" for format_ in ALL.formats for precision in ALL.precisions]
    assert [model.name for model in case.made.models] == names
    assert sorted(file.name for file in case.folder.iterdir()) == sorted(names)
    for model in case.made.models:
        assert model.path == case.folder / model.name
        assert model.sha256 == sha256_of(model.path)
        assert model.size_bytes == model.path.stat().st_size
        assert (model.parent_sha256, model.input_scale, model.role) == ("0" * 64, 1 / 255, "student")
    assert "litert-torch 0." in case.model("fp32.tflite").made_by
    assert "ai-edge-quantizer 0." in case.model("static_wi8_ai8.tflite").made_by
    assert "onnxruntime" in case.model("static_wi8_ai8.onnx").made_by


@pytest.mark.parametrize(
    ("precision", "tolerance"), [("fp32", 1e-5), ("fp16", 5e-3), ("static_wi8_ai8", 0.25)], ids=str
)
@pytest.mark.parametrize("format_", ["onnx", "tflite"])
def test_files_compute_what_torch_computes(case: Case, format_: str, precision: str, tolerance: float) -> None:
    expected = predict(copy.deepcopy(case.student))
    found = run(case.model(f"{precision}.{format_}").path)
    np.testing.assert_allclose(found, expected, atol=tolerance * expected.std(), rtol=0)
    measured = {
        each.metric: each.samples for each in case.made.measurements if each.model == f"student.{precision}.{format_}"
    }
    agrees = found.argmax(1) == expected.argmax(1)
    assert measured["parity"] == tuple(agrees.astype(float))
    assert measured["max_error"][0] == pytest.approx(np.abs(found - expected).max(), abs=1e-5)
    assert measured["mean_error"][0] == pytest.approx(np.abs(found - expected).mean(), abs=1e-5)


def test_int8_files_agree_with_each_other(case: Case) -> None:
    # Two quantizers and two runtimes with ranges from the same samples.
    one, two = (run(case.model(f"static_wi8_ai8.{format_}").path) for format_ in ("onnx", "tflite"))
    assert (one.argmax(1) == two.argmax(1)).mean() >= 0.95
    assert np.abs(one - two).mean() < 0.1 * one.std()


def test_int8_is_a_fraction_of_float(case: Case) -> None:
    for format_ in ("onnx", "tflite"):
        sizes = [case.model(f"{precision}.{format_}").size_bytes for precision in ALL.precisions]
        assert sizes[2] < sizes[1] < 0.6 * sizes[0]
        assert sizes[2] < 0.4 * sizes[0]
    taken, given = (case.model("static_wi8_ai8.tflite").inputs[0], case.model("static_wi8_ai8.tflite").outputs[0])
    assert (taken.dtype, given.dtype) == ("int8", "int8")


def test_student_stays_as_it_was(case: Case) -> None:
    assert case.student.training
    for name, tensor in case.student.state_dict().items():
        assert torch.equal(tensor, case.before[name])


def test_progress_counts_the_files(case: Case) -> None:
    assert case.progress.heard == [("export", 6), *[("advance", 1)] * 6, ("end", 0)]


@pytest.mark.slow
def test_same_student_gives_the_same_bytes(case: Case, tmp_path: Path) -> None:
    made = export(case.student, folder=tmp_path / "again", spec=ALL, calibration=CALIBRATION, check=CHECK)
    assert [model.sha256 for model in made.models] == [model.sha256 for model in case.made.models]


@pytest.mark.slow
def test_published_network_keeps_its_predictions(shared_data: Path, tmp_path: Path) -> None:
    """ResNet-20 for CIFAR-10 by other people, in int8: quantizers' own tables have it lose less than a point."""
    from edgekd.networks.resnet import build

    weights = torch.load(shared_data / "resnet_cifar10/resnet20-12fca82f.th", weights_only=True, map_location="cpu")
    student = build(classes=10, input_shape=(3, 32, 32), depth=20, shortcut="A", padding="symmetric")
    student.load_state_dict({key.removeprefix("module."): value for key, value in weights["state_dict"].items()})
    images = np.load(shared_data / "cifar10/cifar10_lossless_train4000.npz")["x_train_first4000"][:800] / 255
    inputs = ((images - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]).transpose(0, 3, 1, 2).astype(np.float32)
    made = export(student, folder=tmp_path, spec=ALL, calibration=inputs[:200], check=inputs[200:])
    parity = {each.model: np.mean(each.samples) for each in made.measurements if each.metric == "parity"}
    assert parity["student.fp32.onnx"] == parity["student.fp32.tflite"] == 1
    assert parity["student.static_wi8_ai8.onnx"] >= 0.99
    assert parity["student.static_wi8_ai8.tflite"] >= 0.99
    sizes = {model.name: model.size_bytes for model in made.models}
    assert sizes["student.static_wi8_ai8.tflite"] < 0.3 * sizes["student.fp32.tflite"]


def refuse(student: nn.Module, folder: Path, spec: ExportSpec = DENSE, **inputs: NDArray[np.float32]) -> EdgekdError:
    given = {"calibration": CALIBRATION, "check": CHECK} | inputs
    with pytest.raises(EdgekdError) as caught:
        export(student, folder=folder, spec=spec, calibration=given["calibration"], check=given["check"])
    assert not folder.exists() or list(folder.iterdir()) == []
    return caught.value


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (ExportSpec(precisions=("int8",)), "unknown precision 'int8'; allowed: fp32, fp16, dynamic_wi8_afp32"),
        (ExportSpec(precisions=()), "precisions = []"),
        (ExportSpec(calibration=QuantSpec(method="percentile", options={"percentile": 30.0})), "percentile = 30"),
        (
            ExportSpec(corrections=(CorrectionTerm(name="bias_correction"), CorrectionTerm(name="rounding"))),
            "bias_correction last",
        ),
        (ExportSpec(precisions=("fp32", "fp32")), "each once"),
        (ExportSpec(formats=()), "formats = []"),
        (ExportSpec(formats=("onx",)), "did you mean 'onnx'?"),  # type: ignore[arg-type]  # as from a recipe
        (ExportSpec(calibration=QuantSpec(samples=0)), "calibration.samples is 0"),
    ],
)
def test_what_does_not_exist_is_said_before_the_work(tmp_path: Path, spec: ExportSpec, message: str) -> None:
    error = refuse(Residual(), tmp_path / "none", spec)
    assert isinstance(error, ConfigError)
    assert message in str(error)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"calibration": np.full_like(CALIBRATION, 0.5)}, "all calibration samples are 0.5 everywhere"),
        ({"calibration": np.where(CALIBRATION > 3, np.nan, CALIBRATION)}, "calibration samples hold numbers that"),
        ({"calibration": CALIBRATION[:, :, :8]}, "calibration samples have shape (3, 8, 12)"),
        ({"calibration": CALIBRATION[:0]}, "no calibration samples"),
        ({"check": CHECK[:0]}, "check samples have shape (0, 3, 16, 12)"),
        ({"check": np.where(CHECK > 3, np.inf, CHECK)}, "check samples hold numbers that"),
        ({"check": (CHECK * 10).astype(np.uint8)}, "check samples are uint8"),
    ],
)
def test_unfit_inputs_are_said_before_the_work(
    tmp_path: Path, inputs: dict[str, NDArray[np.float32]], message: str
) -> None:
    error = refuse(Residual(), tmp_path, ALL, **inputs)
    assert isinstance(error, DataError)
    assert message in str(error)


def test_weights_that_are_not_finite_are_named(tmp_path: Path) -> None:
    student = Residual()
    with torch.no_grad():
        student.linear.weight[1, 2] = float("nan")
    error = refuse(student, tmp_path)
    assert isinstance(error, ModelError)
    assert "'linear.weight' holds numbers that are not finite" in str(error)


def test_outputs_must_be_logits(tmp_path: Path) -> None:
    error = refuse(nn.Conv2d(3, 4, 3), tmp_path)
    assert isinstance(error, ModelError)
    assert "the student gives (64, 4, 14, 10)" in str(error)


def dense_student(*, exporting: str) -> nn.Module:
    """A student that behaves differently while it is exported; its class is local, as in a notebook."""

    class Sly(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(20, 6)

        def forward(self, inputs: Tensor) -> Tensor:
            logits: Tensor = self.linear(inputs)
            if torch.compiler.is_exporting():
                if exporting == "abort":
                    os.abort()
                logits = logits * 1.01
            return logits

    torch.manual_seed(0)
    return Sly()


DENSE_INPUTS = RANDOM.normal(size=(50, 20)).astype(np.float32)


def test_file_that_predicts_something_else_does_not_leave_the_stage(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "student.fp32.onnx").write_bytes(b"of an earlier student")
    student = dense_student(exporting="differ")
    error = refuse(student, tmp_path / "out", calibration=DENSE_INPUTS, check=DENSE_INPUTS)
    assert isinstance(error, ExportError)
    assert str(error).startswith("student.fp32.onnx: largest error of a logit is 0.0")
    assert "allowed: 0.001" in str(error)


def test_converter_that_dies_leaves_nothing(tmp_path: Path) -> None:
    student = dense_student(exporting="abort")
    error = refuse(student, tmp_path / "out", calibration=DENSE_INPUTS, check=DENSE_INPUTS)
    assert isinstance(error, ExportError)
    assert "the onnx converter died (SIGABRT)" in str(error)


def test_weights_whose_integers_save_nothing_are_refused(tmp_path: Path) -> None:
    torch.manual_seed(0)
    spec = ExportSpec(formats=("onnx",), precisions=("weight_only_wi8_afp32",))
    inputs = DENSE_INPUTS[:, :3]
    error = refuse(nn.Linear(3, 2), tmp_path, spec, calibration=inputs, check=inputs)
    assert isinstance(error, ExportError)
    assert "not smaller than the float32 file" in str(error)


@pytest.mark.slow
def test_integers_that_flow_and_save_nothing_are_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    torch.manual_seed(0)
    spec = ExportSpec(formats=("onnx",), precisions=("fp32", "static_wi8_ai8"))
    inputs = DENSE_INPUTS[:, :3]
    one, two = export(nn.Linear(3, 2), folder=tmp_path, spec=spec, calibration=inputs, check=inputs).models
    assert two.size_bytes > one.size_bytes
    (said,) = [each.getMessage() for each in caplog.records if "not smaller" in each.getMessage()]
    assert said.startswith("student.static_wi8_ai8.onnx: ")
    assert said.endswith(
        f"not smaller than the float32 file of {one.size_bytes} B: "
        "so small a student gains no bytes from static_wi8_ai8"
    )


def test_student_that_can_not_be_sent_is_said(tmp_path: Path) -> None:
    student = nn.Linear(20, 6)
    with (tmp_path / "log").open("w") as log:
        student.log = log  # type: ignore[assignment]  # what notebooks do
        with pytest.raises(ExportError, match="keep open files"):
            export(student, folder=tmp_path, spec=DENSE, calibration=DENSE_INPUTS, check=DENSE_INPUTS)
    gc.collect()


# --- the checks, on numbers ----------------------------------------------------------------------


def test_compare_is_the_formula() -> None:
    student, file = (RANDOM.normal(size=(40, 7)).astype(np.float32) for _ in range(2))
    parity = compare(student, file)
    difference = np.abs(student.astype(np.float64) - file)
    assert parity.max_error == difference.max()
    assert parity.mean_error == pytest.approx(difference.mean())
    assert parity.deviation == pytest.approx(student.astype(np.float64).std())
    np.testing.assert_array_equal(parity.agrees, student.argmax(1) == file.argmax(1))
    best = np.partition(student.astype(np.float64), -2, axis=1)
    np.testing.assert_allclose(parity.margins, best[:, -1] - best[:, -2])


def test_near_ties_may_flip_and_clear_predictions_may_not() -> None:
    student = np.tile(np.array([[2.0, 0.0, -2.0]], np.float32), (100, 1))
    student[0] = [1.0, 1.0 - 1e-6, -2.0]
    flipped = student.copy()
    flipped[0] = [1.0, 1.0 + 1e-6, -2.0]
    verify_outputs("near.fp32.onnx", "fp32", compare(student, flipped))
    flipped[1] = [0.0, 2.0, -2.0]
    with pytest.raises(ExportError, match=r"clear.fp32.onnx: largest error of a logit"):
        verify_outputs("clear.fp32.onnx", "fp32", compare(student, flipped))


@pytest.mark.parametrize(("wrong", "passes"), [(0, True), (10, True), (11, False), (100, False)])
def test_int8_may_differ_on_a_tenth(wrong: int, passes: bool) -> None:
    student = np.tile(np.array([[2.0, 0.0]], np.float32), (100, 1))
    file = student.copy()
    file[:wrong] = [0.0, 2.0]
    if passes:
        verify_outputs("a.static_wi8_ai8.onnx", "static_wi8_ai8", compare(student, file))
    else:
        with pytest.raises(ExportError, match=rf"on {100 - wrong}.00% of 100 samples; allowed: 90% or more"):
            verify_outputs("a.static_wi8_ai8.onnx", "static_wi8_ai8", compare(student, file))


def test_outputs_that_are_not_finite_or_of_another_shape_are_refused() -> None:
    student = np.ones((3, 2), np.float32)
    with pytest.raises(ExportError, match="not finite"):
        verify_outputs("a.fp32.onnx", "fp32", compare(student, student * np.nan))
    with pytest.raises(ExportError, match=r"shape \(3, 1\)"):
        compare(student, student[:, :1])


@pytest.mark.parametrize("precision", ["fp16", "static_wi8_ai8"])
def test_reference_files_are_not_what_they_are_not(shared_data: Path, precision: str) -> None:
    from edgekd.formats.tflite import read

    folder = shared_data / "models"
    partly = read(folder / "ai_edge_quantizer/partly_quantized_mnist.tflite")
    with pytest.raises(ExportError, match=r"weights of .* are"):
        verify_anatomy("partly.tflite", precision, partly, float_bytes=10**6)
    if precision == "static_wi8_ai8":
        whole = read(folder / "mlperf_tiny/image_classification/pretrainedResnet_quant.tflite")
        verify_anatomy("whole.tflite", precision, whole, float_bytes=318_144)
        # int8 weights between float32 input and output: a hybrid that microcontrollers refuse.
        hybrid = read(folder / "dtln/model_quant_1.tflite")
        with pytest.raises(ExportError, match="is float32; allowed: int8"):
            verify_anatomy("hybrid.tflite", precision, hybrid, float_bytes=10**7)
