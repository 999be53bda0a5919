"""What it means that a file predicts what the student predicts, for each task; NumPy's float64 is the judge."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from edgekd.errors import ExportError
from edgekd.records import ExportSpec, Task
from edgekd.stages.export import export
from edgekd.stages.export.verifying import compare, verify_outputs
from edgekd.stages.export.watching import exact_session

RANDOM = np.random.default_rng(3)
# Outputs of unlike scale and offset, as physical quantities have.
STUDENT = (RANDOM.normal(size=(300, 4)) * [1, 50, 0.01, 3] + [0, 1000, 2, -5]).astype(np.float32)


def off_by(share: float) -> NDArray[np.float32]:
    """The student's values, each off by a share of its output's deviation."""
    signs = RANDOM.choice([-1.0, 1.0], STUDENT.shape)
    return np.asarray(STUDENT + signs * share * STUDENT.std(axis=0), np.float32)


def test_values_agree_at_20_db_of_each_output_s_spread() -> None:
    noisy = (STUDENT + RANDOM.normal(size=STUDENT.shape) * 0.1 * STUDENT.std(axis=0)).astype(np.float32)
    y, z = STUDENT.astype(np.float64), noisy.astype(np.float64)
    ratio = -10 * np.log10((((y - z) / y.std(axis=0)) ** 2).mean(axis=1))
    parity = compare(STUDENT, noisy, "regression")
    np.testing.assert_array_equal(parity.agrees, ratio >= 20)
    assert 0.2 < parity.agrees.mean() < 0.8  # both kinds are there
    assert parity.rms_error == pytest.approx(np.sqrt((((y - z) / y.std(axis=0)) ** 2).mean()))


def test_a_reconstruction_is_judged_as_a_whole() -> None:
    noisy = (STUDENT + RANDOM.normal(size=STUDENT.shape) * 2.0).astype(np.float32)
    y, z = STUDENT.astype(np.float64), noisy.astype(np.float64)
    ratio = 10 * np.log10(y.var(axis=0).mean() / ((y - z) ** 2).mean(axis=1))
    np.testing.assert_array_equal(compare(STUDENT, noisy, "reconstruction").agrees, ratio >= 20)


def test_a_constant_output_is_no_division_by_zero() -> None:
    student = STUDENT.copy()
    student[:, 2] = 0
    assert compare(student, student, "regression").agrees.all()
    assert compare(student[:1], student[:1], "regression").rms_error == 0


@pytest.mark.parametrize("task", ["regression", "reconstruction"])
def test_argmax_says_nothing_of_values(task: Task) -> None:
    """The largest output is the same in every sample, right or wrong."""
    wrong = STUDENT[::-1].copy()
    assert (wrong.argmax(1) == STUDENT.argmax(1)).all()
    assert compare(STUDENT, wrong, task).agrees.mean() < 0.1
    with pytest.raises(ExportError, match=r"root-mean-square error is 1\.\d+ of the values' deviation"):
        verify_outputs("a.static_wi8_ai8.onnx", "static_wi8_ai8", compare(STUDENT, wrong, task))


@pytest.mark.parametrize(
    ("precision", "share", "passes"),
    [
        ("fp32", 1e-4, True),
        ("fp32", 5e-3, False),
        ("fp16", 1e-2, True),
        ("fp16", 5e-2, False),
        ("static_wi8_ai8", 0.3, True),
        ("static_wi8_ai8", 0.6, False),
    ],
)
def test_how_far_values_may_be_off(precision: str, share: float, *, passes: bool) -> None:
    parity = compare(STUDENT, off_by(share), "regression")
    assert parity.rms_error == pytest.approx(share, rel=0.05)
    if passes:
        verify_outputs(f"a.{precision}.onnx", precision, parity)
    else:
        with pytest.raises(ExportError, match=f"a.{precision}.onnx: "):
            verify_outputs(f"a.{precision}.onnx", precision, parity)


def test_labels_agree_as_sets() -> None:
    student = np.array([[3.0, -1.0, 0.5], [3.0, -1.0, 0.5], [3.0, 2.0, -0.5], [-1.0, -2.0, -3.0]], np.float32)
    file = np.array([[1.0, -9.0, 0.1], [3.0, -1.0, -0.1], [3.0, -2.0, 0.5], [-3.0, -2.0, -1.0]], np.float32)
    parity = compare(student, file, "multi_label")
    assert parity.agrees.tolist() == [True, False, False, True]
    # The surest of the labels that differ decides whether that may be rounding.
    assert parity.margins.tolist() == [0.0, 0.5, 2.0, 0.0]
    # The argmax of the second row is the same, and that of the last one is not.
    assert compare(student, file).agrees.tolist() == [True, True, True, False]


def test_labels_near_the_threshold_may_flip_in_float32() -> None:
    student = np.tile(np.array([[2.0, -2.0, 1e-6]], np.float32), (50, 1))
    file = student.copy()
    file[0, 2] = -1e-6
    verify_outputs("a.fp32.onnx", "fp32", compare(student, file, "multi_label"))
    file[0, 0] = -1e-6
    with pytest.raises(ExportError, match=r"a\.fp32\.onnx"):
        verify_outputs("a.fp32.onnx", "fp32", compare(student, file, "multi_label"))


@pytest.mark.parametrize(
    "task", ["regression", *(pytest.param(each, marks=pytest.mark.slow) for each in ("multi_label", "reconstruction"))]
)
def test_files_of_other_tasks(task: Task, tmp_path: Path) -> None:
    torch.manual_seed(0)
    outputs = 32 if task == "reconstruction" else 3
    student = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, outputs))
    inputs = RANDOM.normal(size=(200, 32)).astype(np.float32)
    made = export(
        student,
        folder=tmp_path,
        spec=ExportSpec(formats=("onnx",), precisions=("fp32", "static_wi8_ai8")),
        calibration=inputs[:100],
        check=inputs[100:],
        task=task,
    )
    with torch.inference_mode():
        y = student.eval()(torch.from_numpy(inputs[100:])).double().numpy()
    for model in made.models:
        session = exact_session(onnx.load(str(model.path)))
        answers: Any = session.run(None, {session.get_inputs()[0].name: inputs[100:]})
        z = np.asarray(answers[0], np.float64)
        if task == "multi_label":
            expected = ((y > 0) == (z > 0)).all(axis=1)
        else:
            spread = y.var(axis=0) if task == "regression" else y.var(axis=0).mean()
            expected = ((y - z) ** 2 / spread).mean(axis=1) <= 0.01  # 20 dB
        found = next(each for each in made.measurements if each.model == model.name and each.metric == "parity")
        assert found.samples == tuple(expected.astype(float))
        assert np.mean(found.samples) > 0.9
