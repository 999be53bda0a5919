"""Holds what a file gives on one processor against what it gives on another: the same file, other kernels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgekd.errors import ExportError
from edgekd.records import Head, Task, decode_precision
from edgekd.stages.export.verifying import Parity, compare

# Kernels round between operators in their own way. Where one value falls to the other side, what follows differs, by no
# more than rounding itself costs: the file's error against what it was made from. Some steps of an 8-bit output, a
# hundredth of the outputs' deviation each, are always rounding.
_LARGEST_ERROR = 0.1
_LEAST_AGREEMENT = 0.9


def has_integers(precision: str) -> bool:
    """Whether a file computes with integers, which kernels of processors differ most in.

    >>> has_integers("static_wi8_ai8"), has_integers("mixed"), has_integers("fp16")
    (True, True, False)
    """
    return decode_precision(precision).mode != "float"


def compare_kernels(
    here: NDArray[np.float32], there: NDArray[np.float32], task: Task = "single_label", *, head: Head = "logits"
) -> Parity:
    """Compare a file's outputs for the same samples on two processors; neither of the two is the truth.

    Args:
        here: Shape (N, …).
        there: Shape (N, …).
        task: What they predict.
        head: What the outputs are; of a `class` only equality counts.

    >>> compare_kernels(np.array([[0.0, 1.0]], "f"), np.array([[0.0, 1.0]], "f")).max_error
    0.0
    """
    if head == "class":
        agrees = (here == there).reshape(len(here), -1).all(axis=1)
        return Parity(
            agrees=agrees, max_error=0.0, mean_error=0.0, deviation=float(here.std()), margins=np.zeros(len(here))
        )
    return compare(here.reshape(len(here), -1), there.reshape(len(there), -1), task)


def verify_kernels(name: str, parity: Parity, *, target: str, explained: float = 0.0) -> None:
    """Refuse a file that gives other answers on another processor.

    Args:
        name: Of the file.
        parity: From `compare_kernels`.
        target: Where the other processor is.
        explained: Largest error of an output that the file's precision makes against what it was made from.

    Raises:
        ExportError: Names the file, what was observed and what is allowed.

    >>> parity = compare_kernels(np.array([[0.0, 1.0]], "f"), np.array([[0.5, 1.0]], "f"))
    >>> verify_kernels("student.static_wi8_ai8.tflite", parity, target="arm64-emulated")
    Traceback (most recent call last):
        ...
    edgekd.errors.ExportError: student.static_wi8_ai8.tflite on arm64-emulated: an output is off by 1 of the ...
    """
    where = f"{name} on {target}"
    next_step = f"see whether integers overflow on this machine: edgekd lint {name} --target host"
    if not np.isfinite(parity.max_error):
        raise ExportError("outputs that are not finite", where=where, allowed="finite outputs", next_step=next_step)
    deviation = parity.deviation or 1.0
    # Either processor may be off from the float file by what the precision explains, and in the other direction.
    error, allowed = parity.max_error / deviation, max(_LARGEST_ERROR, 2 * explained / deviation)
    if error > allowed:
        raise ExportError(
            f"an output is off by {error:.3g} of the outputs' deviation from what this machine computes",
            where=where,
            allowed=f"{allowed:.3g}",
            next_step=next_step,
        )
    # Numbers of classes have no error that could tell a tie from another answer.
    if parity.max_error == 0 and parity.agrees.mean() < _LEAST_AGREEMENT:
        raise ExportError(
            f"predicts what it predicts on this machine on {parity.agrees.mean():.2%} of {len(parity.agrees)} samples",
            where=where,
            allowed=f"{_LEAST_AGREEMENT:.0%} or more",
            next_step=next_step,
        )
