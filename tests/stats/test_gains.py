"""What distilling gained, against SciPy's paired tests and the coverage of simulated trainings."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from edgekd import stats
from edgekd.errors import MeasurementError

Seeds = list[npt.NDArray[np.float64]]


def _train(rng: np.random.Generator, seeds: int, samples: int = 400) -> tuple[Seeds, Seeds]:
    """Right and wrong answers of students and controls; a seed moves both accuracies, the student's is higher."""
    students, controls = [], []
    for _ in range(seeds):
        luck = rng.normal(0, 0.01)
        students.append((rng.random(samples) < 0.88 + luck + rng.normal(0, 0.01)).astype(float))
        controls.append((rng.random(samples) < 0.84 + luck + rng.normal(0, 0.01)).astype(float))
    return students, controls


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_gain_over_seeds_is_scipy_s_paired_t_interval(seeds: int) -> None:
    students, controls = _train(np.random.default_rng(seeds), seeds)
    expected = scipy_stats.ttest_rel([s.mean() for s in students], [c.mean() for c in controls]).confidence_interval()
    interval = stats.gain_interval(students, controls)
    np.testing.assert_allclose([interval.low, interval.high], [expected.low, expected.high], rtol=1e-9)


def test_gain_of_one_seed_pairs_the_answers() -> None:
    (student,), (control,) = _train(np.random.default_rng(0), 1)
    drop = stats.paired_drop_interval(control, student)  # the other way round
    gain = stats.gain_interval([student], [control])
    np.testing.assert_allclose([gain.estimate, gain.low, gain.high], [-drop.estimate, -drop.high, -drop.low])


def test_gain_of_one_seed_in_other_scores_pairs_them_too() -> None:
    rng = np.random.default_rng(0)
    hard = rng.exponential(1, 200)  # what makes a sample hard for both
    student, control = -(hard + rng.exponential(0.1, 200)), -(hard + rng.exponential(0.3, 200))
    gain = stats.gain_interval([student], [control])
    expected = scipy_stats.ttest_rel(student, control).confidence_interval()
    assert gain.estimate == pytest.approx((student - control).mean())
    np.testing.assert_allclose([gain.low, gain.high], [expected.low, expected.high], atol=0.01)
    assert 0 < gain.low < 0.2 < gain.high


def test_gain_over_seeds_covers_another_training() -> None:
    rng = np.random.default_rng(1)
    intervals = [stats.gain_interval(*_train(rng, 3)) for _ in range(1500)]
    assert np.mean([each.low <= 0.04 <= each.high for each in intervals]) == pytest.approx(0.95, abs=0.015)


@pytest.mark.parametrize("seeds", [1, 3])
def test_recovered_ends_are_what_a_t_test_just_rejects(seeds: int) -> None:
    rng = np.random.default_rng(7)
    students, controls = _train(rng, seeds, samples=2000)
    teacher = (rng.random(2000) < 0.97).astype(float)
    interval = stats.recovered_interval(students, controls, teacher)
    if seeds == 1:
        gained, gaps = students[0] - controls[0], teacher - controls[0]
    else:
        gained = np.array([s.mean() - c.mean() for s, c in zip(students, controls, strict=True)])
        gaps = np.array([teacher.mean() - c.mean() for c in controls])
    assert interval.estimate == pytest.approx(gained.mean() / gaps.mean())
    assert interval.low < interval.estimate < interval.high
    for end in (interval.low, interval.high):
        assert scipy_stats.ttest_1samp(gained - end * gaps, 0).pvalue == pytest.approx(0.05, rel=1e-6)


def test_recovered_covers_in_simulation() -> None:
    rng = np.random.default_rng(2)
    teacher = np.repeat([1.0, 0.0], [376, 24])  # 0.94: the gap is 0.10, of which 0.04 are recovered
    found = [stats.recovered_interval(*_train(rng, 5), teacher) for _ in range(1500)]
    assert np.mean([each.low <= 0.4 <= each.high for each in found]) == pytest.approx(0.95, abs=0.02)


@given(st.integers(0, 1000), st.sampled_from([1, 3, 4]))
def test_a_student_like_its_control_recovers_nothing_and_one_like_the_teacher_all(seed: int, seeds: int) -> None:
    _, controls = _train(np.random.default_rng(seed), seeds)
    teacher = np.ones(400)
    nothing = stats.recovered_interval(controls, controls, teacher)
    everything = stats.recovered_interval([teacher] * seeds, controls, teacher)
    np.testing.assert_allclose([nothing.low, nothing.estimate, nothing.high], 0, atol=1e-9)
    np.testing.assert_allclose([everything.low, everything.estimate, everything.high], 1, rtol=1e-6)


ONES, ZEROS = [1.0] * 20, [0.0] * 20
MIXED = [1.0, 0.0] * 10


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: stats.gain_interval([], []), "0 students and 0 controls can't be paired"),
        (lambda: stats.gain_interval([ONES], [ONES, ONES]), "1 students and 2 controls can't be paired"),
        (lambda: stats.gain_interval([ONES, [1.0]], [ONES, ONES]), "1 and 20 samples can't be paired"),
        (lambda: stats.gain_interval([ONES], [ZEROS], 0.0), "confidence is 0.0"),
        (lambda: stats.recovered_interval([ONES], [ZEROS], [1.0]), "1 samples of the teacher, 20 of the students"),
        (
            lambda: stats.recovered_interval([ONES], [MIXED], ZEROS),
            r"the teacher \(0\) is not better than the control \(0\.5\): there is no gap to recover",
        ),
        (lambda: stats.recovered_interval([ONES, ONES], [MIXED, MIXED], MIXED), "is not better than the control"),
        (
            lambda: stats.recovered_interval([ONES], [MIXED], [*MIXED[:19], 1.0]),
            r"the teacher \(0\.55\) can't be told with 95 % confidence from the control \(0\.5\)",
        ),
    ],
)
def test_what_can_not_be_compared_is_refused(call: Callable[[], object], message: str) -> None:
    with pytest.raises(MeasurementError, match=message):
        call()
