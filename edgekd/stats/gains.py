"""What distilling gained: students held against controls, seed by seed, and against the teacher they learnt from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from edgekd.errors import MeasurementError
from edgekd.stats._interval import Interval, Samples, check_share, finite
from edgekd.stats.means import mean_interval, ratio_interval, student_interval
from edgekd.stats.proportions import paired_drop_interval


def gain_interval(students: Sequence[Samples], controls: Sequence[Samples], confidence: float = 0.95) -> Interval:
    """Bound how much better students do than controls, trained with the same seeds but without teachers.

    With several seeds it is Student's interval of the differences between means, one for each seed: it speaks of
    training the pair once more, which varies more than the samples do. With one seed it is a paired interval over
    the samples, and speaks of these two networks only: Newcombe's (see `paired_drop_interval`) where scores are 0
    and 1, else Hall's (see `mean_interval`) of the differences.

    Args:
        students: For each seed (n,) scores of the test samples; more is better, so errors go in negated.
        controls: The same, seeds and samples in the same order.
        confidence: In (0, 1).

    Returns:
        Mean score of the students minus that of the controls, in the unit of the scores. Equal differences of
        several seeds have no spread: low and high are then the estimate.

    Raises:
        MeasurementError: No seeds, or seeds or samples that can't be paired.

    >>> interval = gain_interval([[1, 1, 1, 0], [1, 1, 1, 1]], [[1, 0, 1, 0], [1, 0, 0, 1]])
    >>> print(f"{interval.estimate:.3f} {interval.low:.3f} {interval.high:.3f}")
    0.375 -1.213 1.963
    """
    check_share("confidence", confidence)
    ours, theirs = _check_seeds(students, controls)
    if len(ours) > 1:
        return student_interval([float((s - c).mean()) for s, c in zip(ours, theirs, strict=True)], confidence)
    scores = np.concatenate([ours[0], theirs[0]])
    if np.isin(scores, (0.0, 1.0)).all():
        return paired_drop_interval(ours[0], theirs[0], confidence)
    return mean_interval(ours[0] - theirs[0], confidence)


def recovered_interval(
    students: Sequence[Samples], controls: Sequence[Samples], teacher: Samples, confidence: float = 0.95
) -> Interval:
    """Bound the share of the gap between control and teacher that distilling closed.

    (student - control) / (teacher - control), bounded by Fieller's theorem (see `ratio_interval`): over seeds
    where there are several, the teacher staying the same; over samples where there is one.

    Args:
        students: For each seed (n,) scores of the test samples; more is better, so errors go in negated.
        controls: The same, seeds and samples in the same order.
        teacher: (n,), of the same samples.
        confidence: In (0, 1).

    Returns:
        A share of the gap: 0 where distilling did nothing, 1 where the student is as good as the teacher; it may
        lie outside of these.

    Raises:
        MeasurementError: The teacher is not better than the controls, or not surely so; or seeds or samples that
            can't be paired.

    >>> student, control, teacher = [1] * 90 + [0] * 10, [1] * 80 + [0] * 20, [1] * 96 + [0] * 4
    >>> interval = recovered_interval([student], [control], teacher)
    >>> print(f"{interval.estimate:.3f} {interval.low:.3f} {interval.high:.3f}")
    0.625 0.354 0.896
    """
    check_share("confidence", confidence)
    ours, theirs = _check_seeds(students, controls)
    best = finite(teacher)
    if best.size != ours[0].size:
        raise MeasurementError(f"{best.size} samples of the teacher, {ours[0].size} of the students can't be paired")
    if len(ours) > 1:
        gained = np.array([(s - c).mean() for s, c in zip(ours, theirs, strict=True)])
        gaps = np.array([(best - c).mean() for c in theirs])
    else:
        gained, gaps = ours[0] - theirs[0], best - theirs[0]
    gap = student_interval(gaps, confidence)
    if gap.low <= 0:
        control = best.mean() - gap.estimate
        how = (
            "is not better than" if gap.estimate <= 0 else f"can't be told with {100 * confidence:g} % confidence from"
        )
        raise MeasurementError(
            f"the teacher ({best.mean():.4g}) {how} the control ({control:.4g}): there is no gap to recover",
            next_step="take a better teacher, or more seeds",
        )
    return ratio_interval(gained, gaps, confidence)


def _check_seeds(
    students: Sequence[Samples], controls: Sequence[Samples]
) -> tuple[list[npt.NDArray[np.float64]], list[npt.NDArray[np.float64]]]:
    if not len(students) or len(students) != len(controls):
        raise MeasurementError(
            f"{len(students)} students and {len(controls)} controls can't be paired",
            allowed="one control for each student, of the same seed",
        )
    ours, theirs = [finite(each) for each in students], [finite(each) for each in controls]
    sizes = sorted({each.size for each in (*ours, *theirs)})
    if len(sizes) > 1:
        raise MeasurementError(
            f"{' and '.join(map(str, sizes))} samples can't be paired", next_step="measure all on the same samples"
        )
    return ours, theirs
