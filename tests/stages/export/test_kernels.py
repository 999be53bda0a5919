"""One file on two processors: what is rounding, and what is another answer."""

from __future__ import annotations

import numpy as np
import pytest

from edgekd.errors import ExportError
from edgekd.stages.export.kernels import compare_kernels, has_integers, verify_kernels

HERE = np.random.default_rng(0).normal(0, 4, (50, 10)).astype(np.float32)


@pytest.mark.parametrize(
    ("precision", "expected"),
    [("fp32", False), ("fp16", False), ("static_wi8_ai8", True), ("weight_only_wi4_afp32", True), ("mixed", True)],
)
def test_files_with_integers_are_compared(precision: str, *, expected: bool) -> None:
    assert has_integers(precision) is expected


def test_equal_outputs_agree() -> None:
    parity = compare_kernels(HERE, HERE)
    assert parity.agrees.all()
    assert parity.max_error == 0
    verify_kernels("a.tflite", parity, target="arm64")


def test_a_step_of_an_8_bit_output_is_rounding() -> None:
    step = np.float32((HERE.max() - HERE.min()) / 255)
    there = HERE + step * np.random.default_rng(1).integers(-1, 2, HERE.shape).astype(np.float32)
    parity = compare_kernels(HERE, there)
    assert parity.max_error == pytest.approx(step, rel=1e-3)
    verify_kernels("a.tflite", parity, target="arm64")


def test_one_output_of_another_answer_is_refused() -> None:
    there = HERE.copy()
    there[7, 3] += 2 * HERE.std()
    with pytest.raises(
        ExportError, match=r"^a\.tflite on arm64: an output is off by 2 of .* deviation .*allowed: 0\.1"
    ):
        verify_kernels("a.tflite", compare_kernels(HERE, there), target="arm64")


def test_what_the_precision_costs_anyway_is_rounding() -> None:
    there = HERE.copy()
    there[7, 3] += 2 * HERE.std()
    parity = compare_kernels(HERE, there)
    verify_kernels("a.tflite", parity, target="arm64", explained=1.05 * float(HERE.std()))
    with pytest.raises(ExportError, match=r"allowed: 1\.9"):
        verify_kernels("a.tflite", parity, target="arm64", explained=0.95 * float(HERE.std()))


def test_outputs_that_are_not_finite_are_refused() -> None:
    there = HERE.copy()
    there[0, 0] = np.nan
    with pytest.raises(ExportError, match="not finite"):
        verify_kernels("a.onnx", compare_kernels(HERE, there), target="arm64")


def test_of_classes_only_equality_counts() -> None:
    here = np.arange(20, dtype=np.float32) % 5
    one, many = here.copy(), here.copy()
    one[0], many[:4] = 4, (here[:4] + 1) % 5
    verify_kernels("a.onnx", compare_kernels(here, one, head="class"), target="arm64")
    with pytest.raises(ExportError, match=r"on 80\.00% of 20 samples"):
        verify_kernels("a.onnx", compare_kernels(here, many, head="class"), target="arm64")


def test_values_agree_by_their_own_spread() -> None:
    there = HERE.copy()
    there[0] += 0.3
    parity = compare_kernels(HERE, there, "regression")
    assert parity.agrees.tolist() == [True] * 50
    verify_kernels("a.tflite", parity, target="arm64")
