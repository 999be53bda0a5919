"""What distilling was worth: students with teachers against the same students without."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Literal

from edgekd.records import Measurement, Run
from edgekd.stages.report.quality import label_of, lower_is_better, points_text, primary_metric
from edgekd.stages.report.seeds import seed_of
from edgekd.stages.report.summary import Figure, gain_between, has_mean, oriented, recovered_between, score_of

ARMS = {"distilled": "with teachers", "control": "without"}
NO_CONTROL = "no control was trained: set distill.control = true to know what distilling gained"
NO_PAIR = "no student and control share a seed and the test samples, so that nothing can be paired"
ONE_SEED = "one seed only: another may give another gain; set distill.seeds = 3 or more"
NO_TEACHER = "no teacher was measured on the same samples, so that the gap to it is not known"
SMALL_GAP = "the gap to the teacher can't be told from none, so that the share recovered of it has no interval"
NO_GAP = "the teacher is no better than the control, so that there is no gap to recover"


@dataclass(frozen=True, kw_only=True)
class SeedScore:
    """The score of one network on the test split.

    Attributes:
        seed: `None` where there is one network of its arm only.
        shipped: Whether this is the student that files are made of.
    """

    network: str
    arm: Literal["distilled", "control"]
    seed: int | None
    score: float
    shipped: bool


@dataclass(frozen=True, kw_only=True)
class Gain:
    """What teachers gave a student, on the test split.

    Attributes:
        metric: What is compared, in its own direction (an error is better when it is small).
        teachers: How many teachers were measured on the same samples.
        teacher: The best of them; `None` without any.
        distilled: Mean score over the seeds that both arms have, else over all.
        control: The same of the networks trained without teachers; `None` without any.
        pairs: How many seeds both arms have.
        gain: How much better the distilled students are; above 0 is better, for errors too.
        recovered: The share of the gap between control and teacher that is closed.
        method: What the interval is over: seeds, or the test samples of one seed.
        notes: What is missing or to be taken with care, and what would change it.
    """

    metric: str
    teachers: int
    teacher: str | None
    teacher_score: float | None
    distilled: float
    control: float | None
    pairs: int
    gain: Figure | None = None
    recovered: Figure | None = None
    method: str = ""
    notes: tuple[str, ...] = ()
    scores: tuple[SeedScore, ...] = ()

    @property
    def proven(self) -> bool:
        """Whether the interval of the gain leaves out 0."""
        if self.gain is None or self.gain.low is None or self.gain.high is None:
            return False
        return not self.degenerate and (self.gain.low > 0 or self.gain.high < 0)

    @property
    def degenerate(self) -> bool:
        """Whether the interval has no width, so is no evidence: seeds that gain equally, networks that answer alike."""
        return self.gain is not None and self.gain.low is not None and self.gain.low == self.gain.high


def gain_of(run: Run) -> Gain | None:
    """Compare students with their controls; `None` where nothing was distilled.

    A seed pairs a student with its control: the same start and the same order of data. With several seeds the
    interval is over them (paired t), with one it is over the test samples.

    >>> from pathlib import Path
    >>> gain_of(Run(name="empty", folder=Path(), recipe=""))
    """
    trained = [each for each in run.measurements if each.target == "training" and each.samples]
    metric = primary_metric(trained)
    trained = [each for each in trained if each.metric == metric]
    shipped = [each for each in trained if each.role == "student"]
    students = _by_seed([each for each in trained if each.role == "repeat"] or shipped)
    controls = _by_seed(each for each in trained if each.role == "control")
    teachers = [each for each in trained if each.role == "teacher"]
    if not students or not (teachers or run.teachings):
        return None
    shared = [seed for seed in students if seed in controls and _same_samples(students[seed], controls[seed])]
    one = [students[seed] for seed in shared] or list(students.values())
    two = [controls[seed] for seed in shared] or list(controls.values())
    teachers = [each for each in teachers if _same_samples(each, one[0])]
    teacher = max(teachers, key=oriented, default=None)
    found = Gain(
        metric=metric,
        teachers=len(teachers),
        teacher=teacher.model if teacher else None,
        teacher_score=score_of(teacher) if teacher else None,
        distilled=fmean(map(score_of, one)),
        control=fmean(map(score_of, two)) if two else None,
        pairs=len(shared),
        scores=(
            *_scores("distilled", students, {each.model_sha256 for each in shipped}),
            *_scores("control", controls, set()),
        ),
    )
    if not shared:
        return replace(found, notes=(NO_PAIR if two else NO_CONTROL,))
    return _compared(found, one, two, teacher)


def _compared(
    found: Gain, students: Sequence[Measurement], controls: Sequence[Measurement], teacher: Measurement | None
) -> Gain:
    notes = [ONE_SEED] if len(students) == 1 else []
    recovered = None
    if teacher is None:
        notes.append(NO_TEACHER)
    elif oriented(teacher) <= fmean(map(oriented, controls)):
        notes.append(NO_GAP)
    else:
        recovered = recovered_between(students, controls, teacher)
        # What is no mean has no interval of its share with one seed, whatever the gap; the note on one seed stands.
        if recovered.low is None and (has_mean(teacher) or len(students) > 1):
            notes.append(SMALL_GAP)
    method = f"{len(students)} seeds, paired t" if len(students) > 1 else f"1 seed, {len(students[0].samples)} samples"
    return replace(found, gain=gain_between(students, controls), recovered=recovered, method=method, notes=tuple(notes))


def _by_seed(measurements: Iterable[Measurement]) -> dict[int | None, Measurement]:
    ordered = sorted(measurements, key=lambda each: (seed_of(each.model) or 0, each.model))
    return {seed_of(each.model): each for each in ordered}


def _same_samples(one: Measurement, two: Measurement) -> bool:
    return len(one.samples) == len(two.samples)


def _scores(
    arm: Literal["distilled", "control"], networks: Mapping[int | None, Measurement], shipped: set[str]
) -> tuple[SeedScore, ...]:
    return tuple(
        SeedScore(network=each.model, arm=arm, seed=seed, score=score_of(each), shipped=each.model_sha256 in shipped)
        for seed, each in networks.items()
    )


def arms_of(found: Gain) -> tuple[tuple[str, int, float, float, float], ...]:
    """Give each arm's name, number of networks, mean, lowest and highest score, the teacher's last.

    >>> score = SeedScore(network="student", arm="distilled", seed=None, score=0.9, shipped=True)
    >>> found = Gain(metric="accuracy", teachers=0, teacher=None, teacher_score=None, distilled=0.9, control=None,
    ...              pairs=0, scores=(score,))
    >>> arms_of(found)
    (('with teachers', 1, 0.9, 0.9, 0.9),)
    """
    arms = []
    for arm, name in ARMS.items():
        scores = [each.score for each in found.scores if each.arm == arm]
        if scores:
            arms.append((name, len(scores), fmean(scores), min(scores), max(scores)))
    if found.teacher is not None and found.teacher_score is not None:
        score = found.teacher_score
        arms.append((f"the teacher itself, {found.teacher}", 1, score, score, score))
    return tuple(arms)


def gain_lines(found: Gain) -> tuple[str, ...]:
    """Say what distilling was worth: the figure first, then what it lacks.

    >>> gain_lines(Gain(metric="accuracy", teacher=None, teacher_score=None, distilled=0.9, control=0.88, pairs=3,
    ...                 teachers=1, gain=Figure(value=0.02, low=0.012, high=0.028), method="3 seeds, paired t"))
    ('distilling gained 2.00 pt (1.20 to 2.80; 3 seeds, paired t)',)
    """
    if found.gain is None:
        return found.notes
    chance = "" if found.proven else "; this may be chance"
    return (f"{_gained(found, found.gain)}{_recovered(found, found.gain)}{chance}", *found.notes)


def _gained(found: Gain, gain: Figure) -> str:
    metric, error = found.metric, lower_is_better(found.metric)
    value, low, high = gain.value, gain.low, gain.high
    verb = "lowered" if error else "gained"
    if value < 0:
        verb = "raised" if error else "lost"
        value, low, high = -value, None if high is None else -high, None if low is None else -low
    interval = ""
    if found.degenerate:
        interval = "every seed the same, which bounds nothing; " if found.pairs > 1 else ""
    elif low is not None and high is not None:
        ends = [points_text(end, metric).removesuffix(" pt") for end in (low, high)]
        interval = f"{ends[0]} to {ends[1]}; "
    amount = points_text(value, metric)
    if error:
        amount = f"the {label_of(metric)} by {amount}"
    elif metric != "accuracy":
        amount = f"{amount} of {label_of(metric)}"
    return f"distilling {verb} {amount} ({interval}{found.method})"


def _recovered(found: Gain, gain: Figure) -> str:
    recovered = found.recovered
    if recovered is None or gain.value <= 0:
        return ""
    interval = ""
    if recovered.low is not None and recovered.high is not None:
        interval = f" ({recovered.low * 100:.0f} to {recovered.high * 100:.0f} %)"
    whose = "the teacher" if found.teachers == 1 else "the best teacher"
    return f" and recovered {recovered.value * 100:.0f} %{interval} of the gap to {whose}"
