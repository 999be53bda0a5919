"""Which classes a file gets right, which it takes for others, and how sure it is of them."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from edgekd import stats
from edgekd.errors import MeasurementError
from edgekd.records import Measurement, Release, Run
from edgekd.stages.report.summary import Figure, joined, score_figure

# Only so many files are shown class by class: those that most checks are about. Raw samples would take megabytes.
FILES_SHOWN = 4
ROWS_SHOWN = 500  # of all these files together
LARGEST_MATRIX = 20
PAIRS_SHOWN = 30
_NO_CLASS = "no class"


@dataclass(frozen=True, kw_only=True)
class ClassFigures:
    """How one class fares in one file.

    Attributes:
        samples: Test samples of the class.
        recall: Share of them that is predicted right; `None` without any.
        predicted: Test samples that are taken for the class.
        precision: Share of these that is of it; `None` without any.
        drop: What was lost of the recall of the float32 file on the same samples; negative is a gain.
    """

    name: str
    samples: int
    recall: Figure | None
    predicted: int
    precision: Figure | None
    drop: Figure | None = None


@dataclass(frozen=True, kw_only=True)
class Mistake:
    """Samples of one class that a file takes for another: how many, and which share of the class."""

    true: str
    predicted: str
    count: int
    share: Figure


@dataclass(frozen=True, kw_only=True)
class FileClasses:
    """One file, class by class, on the target where it answered the most samples.

    Attributes:
        reference: Name of the float32 file that drops are against; empty without one that answered the same samples.
        names: Of the classes in their order.
        counts: By true and by predicted class, in that order; empty where there are many classes.
        classes: The worst first; of very many only these.
        mistakes: The most frequent first.
        calibration: The error of the confidences, and `bins` that it is made of; `None` and none without confidences.
    """

    model: str
    target: str
    samples: int
    reference: str
    names: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]
    classes: tuple[ClassFigures, ...]
    mistakes: tuple[Mistake, ...]
    calibration: Figure | None
    bins: tuple[stats.CalibrationBin, ...]


@dataclass(frozen=True, kw_only=True)
class ClassLine:
    """One file on one target: its worst class, and the one that lost the most since float32, if any lost.

    Attributes:
        macro_f1: Mean over classes of F1; `None` of a single sample, as is `mcc`, Matthews' correlation.
        as_teacher: On which share of the samples it predicts what the teachers do; `None` where they were not asked.
    """

    model: str
    target: str
    samples: int
    macro_f1: Figure | None
    mcc: Figure | None
    worst: ClassFigures
    reference: str
    lost: ClassFigures | None
    calibration: Figure | None
    as_teacher: Figure | None


@dataclass(frozen=True, kw_only=True)
class Classes:
    """All that a run says of classes: a line for every file on every target, and some files in full."""

    lines: tuple[ClassLine, ...]
    files: tuple[FileClasses, ...]


def classes_of(run: Run) -> Classes | None:
    """Hold what files predict against the true classes; `None` where no classifier was measured.

    Raises:
        MeasurementError: Predictions that are no classes, or not as many as there are labels.

    >>> from pathlib import Path
    >>> classes_of(Run(name="empty", folder=Path(), recipe="")) is None
    True
    """
    measurements = joined(each for each in run.measurements if each.role == "student")
    answers: dict[tuple[str, str], _Answers] = {}
    for each in measurements:
        if each.metric == "recall" and each.samples:
            answers.setdefault((each.model_sha256, each.target), _Answers(each))
    if not answers:
        return None
    calibrations = {
        (each.model_sha256, each.target): each
        for each in reversed(measurements)
        if each.metric == "calibration_error" and len(each.samples) >= stats.CALIBRATION_BINS
    }
    as_teacher = {
        (each.model_sha256, each.target): score_figure(each)
        for each in measurements
        if each.metric == "teacher_agreement"
    }
    references = {key: _reference(each, list(answers.values())) for key, each in answers.items()}
    shown = _most_checked(answers, run.release)
    rows = ROWS_SHOWN // max(len(shown), 1)
    return Classes(
        lines=tuple(
            _line(each, references[key], calibrations.get(key), as_teacher.get(key)) for key, each in answers.items()
        ),
        files=tuple(_in_full(answers[key], references[key], calibrations.get(key), rows) for key in shown),
    )


def _most_checked(answers: dict[tuple[str, str], _Answers], release: Release | None) -> list[tuple[str, str]]:
    """Files that most checks are about, each on the target where it answered the most samples."""
    best: dict[str, tuple[str, str]] = {}
    for key, each in answers.items():
        if key[0] not in best or each.size > answers[best[key[0]]].size:
            best[key[0]] = key
    checks = Counter(check.model for check in release.checks) if release else Counter[str]()
    return sorted(best.values(), key=lambda key: -checks[answers[key].measurement.model])[:FILES_SHOWN]


class _Answers:
    """The classes that one file gave to test samples, beside the true ones."""

    def __init__(self, measurement: Measurement) -> None:
        self.measurement = measurement
        predicted, true = (measurement.values, measurement.label_values)
        both = np.concatenate([true, predicted])
        if true.size != predicted.size or not (np.isfinite(both) & (both >= 0) & (both == np.floor(both))).all():
            where = f"{measurement.metric} of {measurement.model} on {measurement.target}"
            raise MeasurementError("predictions and labels that are not as many classes", where=where)
        # Numbers of classes may be of any size; what is counted are their places.
        self.classes, places = np.unique(both, return_inverse=True)
        places = places.astype(np.int32)  # there may be a hundred files of many samples
        self.true, self.predicted = places[: true.size], places[true.size :]
        self.labels_key = hashlib.sha256(true.tobytes()).digest()

    @property
    def size(self) -> int:
        return int(self.true.size)

    @cached_property
    def names(self) -> list[str]:
        """Of the classes that there are, each once."""
        parts = self.measurement.parts
        numbers = [int(each) for each in self.classes]
        names = [parts[each] if each < len(parts) else _NO_CLASS if parts else str(each) for each in numbers]
        often = Counter(names)
        return [name if often[name] == 1 else f"{name} ({number})" for name, number in zip(names, numbers, strict=True)]

    def counts(self, which: NDArray[np.bool_] | None = None, *, by: str = "true") -> NDArray[np.int64]:
        """Samples of each class, of all or of some."""
        values = self.true if by == "true" else self.predicted
        return np.bincount(values if which is None else values[which], minlength=self.classes.size)

    @cached_property
    def right(self) -> NDArray[np.bool_]:
        return np.asarray(self.true == self.predicted)

    @cached_property
    def recalls(self) -> NDArray[np.float64]:
        """By class; 2 for those that no sample is of, so that they are never the worst."""
        totals = self.counts()
        return np.where(totals > 0, self.counts(self.right) / np.maximum(totals, 1), 2.0)

    def figures(self, place: int, reference: _Answers | None) -> ClassFigures:
        """What is known of one class."""
        of_class, taken = self.true == place, self.predicted == place
        samples, predicted = int(of_class.sum()), int(taken.sum())
        hits = int((of_class & taken).sum())
        drop = None
        if reference and samples:
            theirs = reference.right[of_class].astype(np.float64)
            ours = self.right[of_class].astype(np.float64)
            drop = self._figure(stats.paired_drop_interval(theirs, ours), samples)
        return ClassFigures(
            name=self.names[place],
            samples=samples,
            recall=self.share(hits, samples),
            predicted=predicted,
            precision=self.share(hits, predicted),
            drop=drop,
        )

    def share(self, count: int, total: int) -> Figure | None:
        """A share with its exact interval; `None` of nothing."""
        return self._figure(stats.proportion_interval(count, total), total) if total else None

    def score(self, bound: Callable[[stats.Samples, stats.Samples], stats.Interval]) -> Figure | None:
        """A score of all classes with its interval; `None` of a single sample."""
        if self.size < 2:
            return None
        return self._figure(bound(*(each.astype(np.float64) for each in (self.predicted, self.true))), self.size)

    def _figure(self, interval: stats.Interval, samples: int) -> Figure:
        return Figure(
            value=interval.estimate,
            low=interval.low,
            high=interval.high,
            samples=samples,
            basis=self.measurement.basis,
            tainted=self.measurement.conditions.tainted,
        )

    def mistakes(self) -> Iterator[tuple[int, int, int]]:
        """Place of the true class, of the predicted one, and how often; the most frequent first."""
        wrong = ~self.right
        pairs, often = np.unique(
            self.true[wrong].astype(np.int64) * self.classes.size + self.predicted[wrong], return_counts=True
        )
        for at in np.argsort(-often, kind="stable"):
            yield int(pairs[at]) // self.classes.size, int(pairs[at]) % self.classes.size, int(often[at])


def _reference(answers: _Answers, others: Sequence[_Answers]) -> _Answers | None:
    """The float32 file that answered the same samples: of the same format and on the same target if there is one."""
    mine = answers.measurement
    if mine.precision == "fp32":
        return None
    found = [
        each
        for each in others
        if each.measurement.precision == "fp32" and each.size == answers.size and each.labels_key == answers.labels_key
    ]

    def nearness(other: _Answers) -> tuple[bool, bool]:
        return (other.measurement.format == mine.format, other.measurement.target == mine.target)

    return max(found, key=nearness, default=None)


def _line(
    answers: _Answers, reference: _Answers | None, calibration: Measurement | None, as_teacher: Figure | None
) -> ClassLine:
    lost = None
    if reference:
        drops = np.where(answers.recalls <= 1, _recalls_in(reference, answers) - answers.recalls, -math.inf)
        lost = answers.figures(int(drops.argmax()), reference) if drops.max() > 0 else None
    return ClassLine(
        model=answers.measurement.model,
        target=answers.measurement.target,
        samples=answers.size,
        macro_f1=answers.score(stats.macro_f1_interval),
        mcc=answers.score(stats.mcc_interval),
        worst=answers.figures(int(answers.recalls.argmin()), reference),
        reference=reference.measurement.model if reference else "",
        lost=lost,
        calibration=score_figure(calibration) if calibration else None,
        as_teacher=as_teacher,
    )


def _recalls_in(reference: _Answers, answers: _Answers) -> NDArray[np.float64]:
    """Recalls of a reference by the places that classes have in other answers to the same samples."""
    totals = answers.counts()
    return np.asarray(answers.counts(reference.right) / np.maximum(totals, 1))


def _in_full(answers: _Answers, reference: _Answers | None, calibration: Measurement | None, rows: int) -> FileClasses:
    names = answers.names
    worst_first = np.argsort(answers.recalls, kind="stable")[:rows]
    mistakes = list(answers.mistakes())
    totals = answers.counts()
    counts: list[list[int]] = []
    if len(names) <= LARGEST_MATRIX:
        counts = [[0] * len(names) for _ in names]
        for place, hits in enumerate(answers.counts(answers.right)):
            counts[place][place] = int(hits)
        for true, predicted, often in mistakes:
            counts[true][predicted] = often
    shown = []
    for true, predicted, often in mistakes[:PAIRS_SHOWN]:
        if share := answers.share(often, int(totals[true])):
            shown.append(Mistake(true=names[true], predicted=names[predicted], count=often, share=share))
    return FileClasses(
        model=answers.measurement.model,
        target=answers.measurement.target,
        samples=answers.size,
        reference=reference.measurement.model if reference else "",
        names=tuple(names),
        counts=tuple(map(tuple, counts)),
        classes=tuple(answers.figures(int(place), reference) for place in worst_first),
        mistakes=tuple(shown),
        calibration=score_figure(calibration) if calibration else None,
        bins=stats.calibration_bins(calibration.values, calibration.label_values) if calibration else (),
    )
