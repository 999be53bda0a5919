"""What distilling gained, against SciPy's paired t and means of the raw samples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import scipy.stats
from sklearn.metrics import roc_auc_score

from edgekd.records import Measurement, Run
from edgekd.stages.report.gain import (
    NO_CONTROL,
    NO_GAP,
    NO_PAIR,
    NO_TEACHER,
    ONE_SEED,
    SMALL_GAP,
    Gain,
    arms_of,
    gain_lines,
    gain_of,
)
from edgekd.stages.report.summary import Figure

Make = Callable[[], Run]


def of(run: Run, *, without: tuple[str, ...] = (), **changes: object) -> Gain:
    """The gain of a run, without the measurements of networks whose names begin so."""
    kept = tuple(each for each in run.measurements if not each.model.startswith(without))
    found = gain_of(replace(run, measurements=kept, **changes))  # type: ignore[arg-type]
    assert found is not None
    return found


def means(run: Run, role: str) -> np.ndarray:
    return np.array([np.mean(each.samples) for each in run.measurements if each.role == role])


def test_the_gain_is_the_paired_t_interval_over_seeds(distilled: Make) -> None:
    run = distilled()
    found = of(run)
    differences = means(run, "repeat") - means(run, "control")
    expected = scipy.stats.ttest_1samp(differences, 0).confidence_interval(0.95)
    assert found.gain is not None
    assert found.gain.value == pytest.approx(differences.mean(), abs=1e-12)
    assert (found.gain.low, found.gain.high) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert (found.pairs, found.method, found.notes, found.proven) == (3, "3 seeds, paired t", (), True)


def test_the_share_of_the_gap_is_that_to_the_best_teacher(distilled: Make) -> None:
    run = distilled()
    found = of(run)
    student, control, teacher = means(run, "repeat").mean(), means(run, "control").mean(), means(run, "teacher").max()
    assert (found.teachers, found.teacher) == (2, "teacher-0")
    assert found.teacher_score == pytest.approx(teacher)
    assert found.recovered is not None
    assert found.recovered.value == pytest.approx((student - control) / (teacher - control), rel=1e-9)
    assert found.recovered.low is not None
    assert found.recovered.high is not None
    assert found.recovered.low < found.recovered.value < found.recovered.high


def test_the_shipped_student_counts_once_and_is_marked(distilled: Make) -> None:
    found = of(distilled())
    assert [each.network for each in found.scores if each.shipped] == ["student-seed-1"]
    assert [(each.arm, each.seed) for each in found.scores] == [
        (arm, seed) for arm in ("distilled", "control") for seed in range(3)
    ]


def test_seeds_pair_by_their_number_in_whatever_order_they_come(distilled: Make) -> None:
    run = distilled()
    shuffled = list(run.measurements)
    np.random.default_rng(5).shuffle(shuffled)
    assert of(replace(run, measurements=tuple(shuffled))) == of(run)
    # A control that is missing takes its student out of the comparison, not another's partner.
    found = of(run, without=("control-seed-0",))
    differences = (means(run, "repeat") - means(run, "control"))[1:]
    assert found.gain is not None
    assert found.gain.value == pytest.approx(differences.mean(), abs=1e-12)
    assert found.distilled == pytest.approx(means(run, "repeat")[1:].mean())
    assert found.pairs == 2


def test_ten_seeds_are_in_the_order_of_their_numbers(distilled: Make) -> None:
    run = distilled()
    students = tuple(each for each in run.measurements if each.role == "repeat")
    more = tuple(replace(students[0], model=f"student-seed-{seed}") for seed in (10, 9))
    assert [each.seed for each in of(replace(run, measurements=(*more, *run.measurements))).scores][:5] == [
        0,
        1,
        2,
        9,
        10,
    ]


def single(run: Run) -> Run:
    """The same with one seed, whose names have no number."""
    kept = []
    for each in run.measurements:
        if each.role in ("teacher", "student"):
            kept.append(each)
        elif each.model == "control-seed-1":
            kept.append(replace(each, model="control"))
    return replace(run, measurements=tuple(kept))


def test_one_seed_gives_an_interval_over_samples_and_a_word_of_care(distilled: Make) -> None:
    found = of(single(distilled()))
    assert found.gain is not None
    assert found.gain.value == pytest.approx(0.893 - 0.878, abs=1e-12)
    assert found.gain.low is not None
    assert found.gain.high is not None
    assert found.gain.low < found.gain.value < found.gain.high
    assert found.method == "1 seed, 2000 samples"
    assert found.notes == (ONE_SEED,)
    assert [(each.seed, each.shipped) for each in found.scores] == [(None, True), (None, False)]


def test_without_a_control_it_says_how_to_get_one(distilled: Make) -> None:
    found = of(distilled(), without=("control",))
    assert (found.gain, found.control, found.notes) == (None, None, (NO_CONTROL,))
    assert gain_lines(found) == ("no control was trained: set distill.control = true to know what distilling gained",)
    assert [name for name, *_ in arms_of(found)] == ["with teachers", "the teacher itself, teacher-0"]


def test_what_can_not_be_paired_is_not(distilled: Make) -> None:
    run = distilled()
    fewer = tuple(
        replace(each, samples=each.samples[:500]) if each.role == "control" else each for each in run.measurements
    )
    assert of(replace(run, measurements=fewer)).notes == (NO_PAIR,)


def test_without_a_teacher_on_the_same_samples_the_gap_is_not_known(distilled: Make) -> None:
    found = of(distilled(), without=("teacher",))
    assert found.gain is not None
    assert (found.recovered, found.teachers, found.notes) == (None, 0, (NO_TEACHER,))


def test_a_teacher_no_better_than_the_control_leaves_no_gap(distilled: Make) -> None:
    run = distilled()
    worse = tuple(
        replace(each, samples=(0.0,) * 500 + each.samples[500:]) if each.role == "teacher" else each
        for each in run.measurements
    )
    found = of(replace(run, measurements=worse))
    assert found.gain is not None
    assert (found.recovered, found.notes) == (None, (NO_GAP,))


def test_a_gap_that_may_be_none_gives_a_share_without_an_interval(distilled: Make) -> None:
    # The teacher is between the controls: better than their mean, not surely better.
    run = distilled()
    teacher = next(each for each in run.measurements if each.model == "control-seed-1")
    kept = [each for each in run.measurements if each.role != "teacher"]
    found = of(replace(run, measurements=(*kept, replace(teacher, role="teacher", model="teacher-0"))))
    assert found.recovered is not None
    assert found.recovered.value == pytest.approx((0.889 - 0.875) / (0.878 - 0.875), rel=1e-9)
    assert (found.recovered.low, found.recovered.high) == (None, None)
    assert found.notes == (SMALL_GAP,)


def test_where_nothing_was_distilled_there_is_no_gain(distilled: Make) -> None:
    run = distilled()
    alone = tuple(each for each in run.measurements if each.role == "student")
    assert gain_of(replace(run, measurements=alone, teachings={})) is None
    # Files that are merely measured were not trained here.
    bench = tuple(replace(each, target="host") for each in run.measurements)
    assert gain_of(replace(run, measurements=bench)) is None


def errors(run: Run) -> Run:
    """The same networks with squared errors: the fewer right answers, the larger."""
    generator = np.random.default_rng(3)
    spread = generator.gamma(2, 0.5, 2000)

    def erring(each: Measurement) -> Measurement:
        values = spread * (1.2 - np.mean(each.samples)) + generator.gamma(1, 0.001, 2000)
        return replace(each, metric="mean_squared_error", samples=tuple(values.tolist()))

    return replace(run, measurements=tuple(erring(each) for each in run.measurements if each.role != "student"))


def test_a_smaller_error_is_a_gain(distilled: Make) -> None:
    run = errors(distilled())
    student = next(each for each in run.measurements if each.role == "repeat")
    found = of(replace(run, measurements=(*run.measurements, replace(student, role="student", model="student"))))
    differences = means(run, "control") - means(run, "repeat")
    expected = scipy.stats.ttest_1samp(differences, 0).confidence_interval(0.95)
    assert found.gain is not None
    assert found.gain.value == pytest.approx(differences.mean(), rel=1e-9)
    assert found.gain.value > 0
    assert (found.gain.low, found.gain.high) == pytest.approx((expected.low, expected.high), rel=1e-9)
    # The best teacher has the smallest error.
    assert found.teacher_score == pytest.approx(means(run, "teacher").min())
    assert found.recovered is not None
    assert 0 < found.recovered.value < 1
    assert gain_lines(found)[0].startswith(f"distilling lowered the mean squared error by {found.gain.value:.3g} (")


def test_areas_are_compared_by_seed(distilled: Make) -> None:
    run = distilled()
    labels = np.random.default_rng(8).integers(0, 2, 2000)

    def ranked(each: Measurement) -> Measurement:
        # Anomalies score higher the better the network is.
        noise = np.random.default_rng(round(1e4 * np.mean(each.samples))).normal(0, 1, 2000)
        scores = noise + labels * (np.mean(each.samples) - 0.8) * 10
        return replace(each, metric="auc", samples=tuple(scores.tolist()), labels=tuple(labels.tolist()))

    run = replace(run, measurements=tuple(ranked(each) for each in run.measurements))
    area = {each.model: roc_auc_score(labels, each.samples) for each in run.measurements}
    differences = [area[f"student-seed-{seed}"] - area[f"control-seed-{seed}"] for seed in range(3)]
    expected = scipy.stats.ttest_1samp(differences, 0).confidence_interval(0.95)
    found = of(run)
    assert found.gain is not None
    assert found.gain.value == pytest.approx(np.mean(differences), abs=1e-12)
    assert (found.gain.low, found.gain.high) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert "pt of AUC (" in gain_lines(found)[0]
    one = of(single(run))
    assert one.gain is not None
    assert one.gain.value == pytest.approx(area["student-seed-1"] - area["control-seed-1"], abs=1e-12)
    assert one.gain.low is not None
    assert one.recovered is not None
    assert (one.recovered.low, SMALL_GAP in one.notes) == (None, False)


def test_sentences(distilled: Make) -> None:
    run = distilled()
    gained = "distilling gained 1.40 pt (0.74 to 2.06; 3 seeds, paired t)"
    assert gain_lines(of(run)) == (f"{gained} and recovered 25 % (13 to 37 %) of the gap to the best teacher",)
    swapped = {"repeat": "control", "control": "repeat"}
    lost = tuple(
        replace(
            each,
            role=swapped.get(each.role, each.role),  # type: ignore[arg-type]
            model=f"{'student' if each.role == 'control' else 'control'}-{each.model.partition('-')[2]}"
            if each.role in swapped
            else each.model,
        )
        for each in run.measurements
        if each.role != "student"
    )
    assert gain_lines(of(replace(run, measurements=lost))) == (
        "distilling lost 1.40 pt (0.74 to 2.06; 3 seeds, paired t)",
    )
    unsure = tuple(
        replace(each, samples=(1.0,) * 1768 + (0.0,) * 232) if each.model == "control-seed-2" else each
        for each in run.measurements
    )
    assert gain_lines(of(replace(run, measurements=unsure)))[0].startswith(
        "distilling gained 1.10 pt (-0.84 to 3.04; 3 seeds, paired t) and recovered "
    )
    assert gain_lines(of(replace(run, measurements=unsure)))[0].endswith("; this may be chance")
    equal = replace(
        of(run), gain=Figure(value=0.02, low=0.02, high=0.02), recovered=None, method="2 seeds, paired t", pairs=2
    )
    assert gain_lines(equal)[0] == (
        "distilling gained 2.00 pt (every seed the same, which bounds nothing; 2 seeds, paired t); this may be chance"
    )
