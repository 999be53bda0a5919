"""Scores of classifiers that are made of the whole confusion matrix: Matthews' correlation and macro-averaged F1."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgekd.errors import MeasurementError
from edgekd.stats._interval import Interval, Samples, check_share
from edgekd.stats._recovery import difference, relative_difference
from edgekd.stats.distributions import normal_quantile
from edgekd.stats.means import paired

_Numbers = npt.NDArray[np.float64]


def mcc(predicted: Samples, true: Samples) -> float:
    """Compute Matthews' correlation coefficient of classes.

    Gorodkin, Computational Biology and Chemistry 28:367-374 (2004), equation 8: with c samples right of s, of class k
    p_k predicted and t_k true,

        R_K = (c s - sum_k p_k t_k) / sqrt((s^2 - sum_k p_k^2) (s^2 - sum_k t_k^2))

    which is that of Matthews (1975) for two classes; 0 where all are predicted to be of one class, or all are.

    Args:
        predicted: Shape (n,), numbers of classes.
        true: Shape (n,), likewise.

    Returns:
        In [-1, 1]; 0 for a guess.

    Raises:
        MeasurementError: Other lengths, no samples, or numbers that are no classes.

    >>> print(f"{mcc([0, 0, 1, 1, 1], [0, 0, 0, 1, 1]):.4f}")
    0.6667
    """
    return _mcc(_confusion(predicted, true))


def macro_f1(predicted: Samples, true: Samples) -> float:
    """Compute the mean over classes of F1 = 2 TP / (2 TP + FP + FN); classes neither true nor predicted don't count.

    Opitz & Burst, "Macro F1 and Macro F1" (2019), arXiv:1911.03347, equation 1: the mean of the classes' F1.

    Args:
        predicted: Shape (n,), numbers of classes.
        true: Shape (n,), likewise.

    Returns:
        In [0, 1].

    Raises:
        MeasurementError: Other lengths, no samples, or numbers that are no classes.

    >>> macro_f1([0, 0, 1, 1, 1], [0, 0, 0, 1, 1])
    0.8
    """
    return _macro_f1(_confusion(predicted, true))


def mcc_interval(predicted: Samples, true: Samples, confidence: float = 0.95) -> Interval:
    """Bound Matthews' correlation over samples like these.

    The jackknife's variance (Efron & Stein, Annals of Statistics 9:586-596 (1981)) of Fisher's z = artanh R: so Itaya
    et al., Statistics in Medicine 44 (2025), find intervals that stay below 1. Each end counts one sample more, the
    worst or the best that could be: a few answers that are all right would else prove a perfect model.

    Args:
        predicted: Shape (n,), numbers of classes, n >= 2.
        true: Shape (n,), likewise.
        confidence: In (0, 1).

    Returns:
        In [-1, 1].

    Raises:
        MeasurementError: As `mcc`; or a single sample.

    >>> interval = mcc_interval([0, 1] * 50, [0, 1] * 48 + [1, 0] * 2)
    >>> print(f"{interval.estimate:.2f} {interval.low:.3f} {interval.high:.3f}")
    0.92 0.771 0.971
    """
    return _bound(_MCC, _confusion(predicted, true), confidence)


def macro_f1_interval(predicted: Samples, true: Samples, confidence: float = 0.95) -> Interval:
    """Bound a macro-averaged F1 over samples like these, as `mcc_interval` does, of 2 F1 - 1.

    Args:
        predicted: Shape (n,), numbers of classes, n >= 2.
        true: Shape (n,), likewise.
        confidence: In (0, 1).

    Returns:
        In [0, 1].

    Raises:
        MeasurementError: As `macro_f1`; or a single sample.

    >>> interval = macro_f1_interval([0, 1] * 50, [0, 1] * 48 + [1, 0] * 2)
    >>> print(f"{interval.estimate:.2f} {interval.low:.3f} {interval.high:.3f}")
    0.96 0.886 0.985
    """
    return _bound(_MACRO_F1, _confusion(predicted, true), confidence)


def mcc_drop_interval(
    reference: Samples, candidate: Samples, true: Samples, confidence: float = 0.95, *, relative: bool = False
) -> Interval:
    """Bound how much of Matthews' correlation one model has lost against another on the same samples.

    The method of variance estimates recovery, as `auc_drop_interval`, with the intervals of `mcc_interval` and the
    correlation of the jackknife's parts.

    Args:
        reference: Shape (n,), predicted classes, n >= 2.
        candidate: Shape (n,), of the same samples in the same order.
        true: Shape (n,), true classes.
        confidence: In (0, 1).
        relative: As a share of the reference's.

    Returns:
        That of the reference minus that of the candidate, or that as a share.

    Raises:
        MeasurementError: As `mcc_interval`, or samples that can't be paired.

    >>> true = [0, 1] * 50
    >>> print(f"{mcc_drop_interval(true, true[:90] + [1, 0] * 5, true).estimate:.2f}")
    0.20
    """
    return _drop(_MCC, (reference, candidate, true), confidence, relative=relative)


def macro_f1_drop_interval(
    reference: Samples, candidate: Samples, true: Samples, confidence: float = 0.95, *, relative: bool = False
) -> Interval:
    """Bound how much of a macro-averaged F1 one model has lost against another, as `mcc_drop_interval` does.

    Args:
        reference: Shape (n,), predicted classes, n >= 2.
        candidate: Shape (n,), of the same samples in the same order.
        true: Shape (n,), true classes.
        confidence: In (0, 1).
        relative: As a share of the reference's.

    Returns:
        That of the reference minus that of the candidate, or that as a share.

    Raises:
        MeasurementError: As `macro_f1_interval`, or samples that can't be paired.

    >>> true = [0, 1] * 50
    >>> print(f"{macro_f1_drop_interval(true, true[:90] + [1, 0] * 5, true).estimate:.2f}")
    0.10
    """
    return _drop(_MACRO_F1, (reference, candidate, true), confidence, relative=relative)


def _confusion(predicted: Samples, true: Samples) -> _Numbers:
    """Counts by true (rows) and predicted class."""
    ours, theirs = paired(predicted, true)
    both = np.concatenate([ours, theirs])
    if both.min() < 0 or (both != np.floor(both)).any():
        raise MeasurementError("predictions or labels that are no classes", allowed="whole numbers from 0 on")
    _, numbers = np.unique(both, return_inverse=True)
    size, n = int(numbers.max()) + 1, ours.size
    counts = np.bincount(numbers[n:] * size + numbers[:n], minlength=size * size)
    return counts.reshape(size, size).astype(np.float64)


@dataclass(frozen=True)
class _Score:
    """A score of counts by true and predicted class.

    Attributes:
        of: The score.
        changed: The scores with one sample more (1) or less (-1) in each of the cells.
        bounds: Between which it lies.
    """

    of: Callable[[_Numbers], float]
    changed: Callable[[_Numbers, int], _Numbers]
    bounds: tuple[float, float]


def _mcc(counts: _Numbers) -> float:
    predicted, true, total = counts.sum(axis=0), counts.sum(axis=1), counts.sum()
    spread = (total**2 - predicted @ predicted) * (total**2 - true @ true)
    return float((np.trace(counts) * total - predicted @ true) / math.sqrt(spread)) if spread > 0 else 0.0


def _mcc_changed(counts: _Numbers, step: int) -> _Numbers:
    predicted, true, total = counts.sum(axis=0), counts.sum(axis=1), counts.sum() + step
    same = np.eye(len(counts))
    both = predicted @ true + step * (predicted[:, None] + true[None, :]) + same
    of_predicted = (predicted @ predicted + 2 * step * predicted + 1)[None, :]
    of_true = (true @ true + 2 * step * true + 1)[:, None]
    spread = (total**2 - of_predicted) * (total**2 - of_true)
    above = (np.trace(counts) + step * same) * total - both
    return np.where(spread > 0, above / np.sqrt(np.where(spread > 0, spread, 1.0)), 0.0)


def _macro_f1(counts: _Numbers) -> float:
    named = counts.sum(axis=0) + counts.sum(axis=1)
    there = named > 0
    return float((2 * np.diag(counts)[there] / named[there]).mean())


def _macro_f1_changed(counts: _Numbers, step: int) -> _Numbers:
    right, named = np.diag(counts), counts.sum(axis=0) + counts.sum(axis=1)
    plain, moved, both = _f1(right, named), _f1(right, named + step), _f1(right + step, named + 2 * step)
    lost, kept, gone = moved - plain, named + step > 0, named + 2 * step > 0
    total = plain.sum() + lost[:, None] + lost[None, :]
    there = (named > 0).sum() + sum(np.subtract(kept, named > 0, dtype=np.float64)[at] for at in _SIDES)
    np.fill_diagonal(total, plain.sum() + both - plain)
    np.fill_diagonal(there, (named > 0).sum() + np.subtract(gone, named > 0, dtype=np.float64))
    return np.asarray(total / np.maximum(there, 1), dtype=np.float64)


_SIDES = ((slice(None), None), (None, slice(None)))


def _f1(right: _Numbers, named: _Numbers) -> _Numbers:
    return np.where(named > 0, 2 * right / np.maximum(named, 1), 0.0)


_MCC = _Score(_mcc, _mcc_changed, (-1.0, 1.0))
_MACRO_F1 = _Score(_macro_f1, _macro_f1_changed, (0.0, 1.0))


def _parts(score: _Score, counts: _Numbers) -> _Numbers:
    """What a sample of each cell adds to the score, by the jackknife; 0 on average over samples."""
    without = np.where(counts > 0, score.changed(counts, -1), 0.0)
    return np.where(counts > 0, (counts * without).sum() / counts.sum() - without, 0.0)


def _error(score: _Score, counts: _Numbers) -> float:
    n = counts.sum()
    return math.sqrt((n - 1) / n * float((counts * _parts(score, counts) ** 2).sum()))


def _bound(score: _Score, counts: _Numbers, confidence: float) -> Interval:
    check_share("confidence", confidence)
    if counts.sum() < 2:
        raise MeasurementError("one sample says nothing of the spread", next_step="take 2 or more")
    z, estimate = normal_quantile(confidence), score.of(counts)
    with_one = score.changed(counts, 1)
    low, high = (
        [estimate, *(_end(score, each, sign * z) for each in (counts, _with_one(counts, int(at))))]
        for sign, at in ((-1, with_one.argmin()), (1, with_one.argmax()))
    )
    return Interval(estimate=estimate, low=min(low), high=max(high))


def _end(score: _Score, counts: _Numbers, z: float) -> float:
    """An end of the interval, by Fisher's transformation of the score brought to -1 to 1."""
    (lowest, highest), value = score.bounds, score.of(counts)
    half = (highest - lowest) / 2
    scaled = (value - lowest) / half - 1
    if abs(scaled) >= 1:
        return value
    error = _error(score, counts) / half / (1 - scaled**2)
    return lowest + half * (1 + math.tanh(math.atanh(scaled) + z * error))


def _with_one(counts: _Numbers, cell: int) -> _Numbers:
    more = counts.copy()
    more.flat[cell] += 1
    return more


def _drop(score: _Score, samples: tuple[Samples, Samples, Samples], confidence: float, *, relative: bool) -> Interval:
    (first, true), (second, _) = (paired(each, samples[2]) for each in samples[:2])
    one, two = (_bound(score, _confusion(each, true), confidence) for each in (first, second))
    influences = [_per_sample(score, each, true) for each in (first, second)]
    norms = math.prod(math.sqrt(float(each @ each)) for each in influences)
    phi = float(influences[0] @ influences[1]) / norms if norms > 0 else 0.0
    if relative:
        return relative_difference(one, two, phi)
    return difference(one, two, phi, span=score.bounds[1] - score.bounds[0])


def _per_sample(score: _Score, predicted: _Numbers, true: _Numbers) -> _Numbers:
    counts = _confusion(predicted, true)
    _, numbers = np.unique(np.concatenate([predicted, true]), return_inverse=True)
    return _parts(score, counts)[numbers[predicted.size :], numbers[: predicted.size]]
