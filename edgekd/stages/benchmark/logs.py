"""Measurements of a target that others ran: its logs of MLPerf Tiny."""

from __future__ import annotations

import logging
import math
import re
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgekd.errors import DataError, MeasurementError
from edgekd.metrics import Scores, score_all
from edgekd.records import Conditions, Measurement, Model, TensorSpec
from edgekd.stages.benchmark.mlperf_tiny import SerialLog, Summary, parse_log, parse_summary
from edgekd.stages.benchmark.recording import measurement

_LOG = logging.getLogger("edgekd")
# What counts as MLPerf Tiny's performance: https://github.com/eembc/energyrunner
_WINDOWS, _WINDOW_S = 5, 10.0
# A clock that is off by less is not worth a word.
_CLOCK_SHARE = 0.002
# Widths of numbers in an input: int8, int16, float32.
_WIDTHS = (1, 2, 4)
_US_PER_S = 1e6
# The last digits that summaries have.
_TOP1_DIGIT, _AUC_DIGIT, _WINDOW_DIGIT, _ROUNDING = 0.001, 0.01, 0.001, 1e-9


@dataclass(frozen=True, kw_only=True)
class _Session:
    """A log, and the summary that lies beside it, if one does."""

    log: SerialLog
    log_path: Path
    summary: Summary | None
    summary_path: Path


def read_logs(folder: Path, *, model: Model, target: str, labels: Path | None = None) -> tuple[Measurement, ...]:
    """Make measurements of what EEMBC's runner kept of MLPerf Tiny on a microcontroller.

    `accuracy/log.txt` has single inferences: their times are samples of `latency`, and what they gave of `accuracy`, or
    of `auc` where the target itself says how badly it rebuilt an input. `performance/log.txt` has windows of many
    inferences without a break, each at least ten seconds long: their means are samples of `window_latency`. A
    `results.txt` beside a log must say the same.

    No log says which file was made into the firmware: that it is `model` is the caller's word, and the conditions name
    the log as the source. Outputs and inputs of other sizes than the file's are found out.

    Args:
        folder: Holds `accuracy`, `performance` or both.
        model: The file that the firmware was made of.
        target: What ran it, by a name of the caller's.
        labels: MLPerf Tiny's `y_labels.csv` of the task: name, number of classes, class. Names of keyword spotting and
            of anomaly detection say the class themselves.

    Returns:
        Measurements in s and shares of one. Accuracy is left out, with a warning, where nothing says the classes.

    Raises:
        MeasurementError: A log that is broken, cut short, of another tool or another model, or that contradicts itself,
            the other log or a summary.
        DataError: No log, a file that can't be read, or labels that don't fit.
    """
    accuracy, performance = (_open(folder / name) for name in ("accuracy", "performance"))
    sessions = [each for each in (accuracy, performance) if each]
    if not sessions:
        raise DataError("no log in it", where=str(folder), allowed="accuracy/log.txt, performance/log.txt or both")
    _check_same(sessions)
    for each in sessions:
        _check_model(each, model)
    if labels and not accuracy:
        raise DataError("no log that labels are for", where=str(folder), allowed="accuracy/log.txt")
    _tell_clock(sessions)
    found: list[Measurement] = []
    if accuracy:
        found += _of_accuracy(accuracy, model, target, labels)
    if performance:
        found.append(_of_performance(performance, model, target))
    return tuple(found)


def _open(folder: Path) -> _Session | None:
    log_path, summary_path = folder / "log.txt", folder / "results.txt"
    if not log_path.is_file():
        if summary_path.is_file():
            _LOG.warning(
                "%s: no log.txt beside it; a summary has no samples, so nothing is taken from it", summary_path
            )
        return None
    return _Session(
        log=parse_log(_read(log_path), str(log_path)),
        log_path=log_path,
        summary=parse_summary(_read(summary_path), str(summary_path)) if summary_path.is_file() else None,
        summary_path=summary_path,
    )


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise DataError("it is no text", where=str(path)) from None
    except OSError as error:
        raise DataError(f"can't read it: {error.strerror}", where=str(path)) from None


def _check_same(sessions: Sequence[_Session]) -> None:
    """Check that all logs are of one firmware with one model."""
    first = sessions[0]
    for other in sessions[1:]:
        for what in ("model", "firmware"):
            one, two = getattr(first.log, what), getattr(other.log, what)
            if one != two:
                where = str(other.log_path)
                raise MeasurementError(f"its {what} is '{two}', that of {first.log_path} is '{one}'", where=where)


def _check_model(session: _Session, model: Model) -> None:
    """Check that outputs and inputs have the sizes of the file's."""
    answer = session.log.answers[0]
    where = f"{session.log_path}:{answer.line}"
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise MeasurementError("MLPerf Tiny's models have one input and one output", where=str(model.path))
    takes, gives = _size(model.inputs[0]), _size(model.outputs[0])
    # Of an autoencoder the firmware prints how far it is off.
    if len(answer.outputs) not in ({1, gives} if takes == gives else {gives}):
        said = f"the target gives {len(answer.outputs)} numbers, {model.name} {gives}"
        raise MeasurementError(f"{said}: it ran another model", where=where)
    if answer.size_bytes not in {takes * width for width in _WIDTHS}:
        said = f"the target takes {answer.size_bytes} bytes, {model.name} {takes} numbers"
        raise MeasurementError(f"{said}: it ran another model", where=where)


def _size(tensor: TensorSpec) -> int:
    """How many numbers one sample has."""
    return math.prod(each or 1 for each in tensor.shape)


def _tell_clock(sessions: Sequence[_Session]) -> None:
    """Warn of a clock that is off, once: that of all sessions is the same."""
    for each in sessions:
        ratio = each.log.clock_ratio
        if ratio is not None and abs(ratio - 1) > _CLOCK_SHARE:
            _LOG.warning(
                "%s: by the log's own times the target's clock is %.1f %% %s, and so its times are too %s by as much",
                *(each.log_path, 100 * abs(ratio - 1), *(("fast", "long") if ratio > 1 else ("slow", "short"))),
            )
            return


def _conditions(session: _Session) -> Conditions:
    log = session.log
    return Conditions(
        runtime="MLPerf Tiny firmware",
        runtime_version=f"{log.firmware}, {log.model}",
        source=f"log of EEMBC's runner {log.runner}, session {log.session}",
        clock_ratio=log.clock_ratio,
    )


def _of_accuracy(session: _Session, model: Model, target: str, labels: Path | None) -> Iterator[Measurement]:
    """Times of single inferences, and how well they did where their classes are known."""
    log, conditions = session.log, _conditions(session)
    for each in log.answers:
        if each.count != 1:
            where = f"{session.log_path}:{each.line}"
            raise MeasurementError(f"{each.count} inferences of one input", where=where, allowed="1, for accuracy")
    if session.summary and session.summary.windows:
        raise MeasurementError("it is of windows, not of accuracy", where=str(session.summary_path))
    times_s = [each.elapsed_us / _US_PER_S for each in log.answers]
    yield measurement(model, target, "latency", times_s, started_at="", conditions=conditions)
    classes = _classes(dict.fromkeys(each.sample for each in log.answers), labels)
    if classes is None:
        _LOG.warning(
            "%s: names such as '%s' don't say their class, so it gives no accuracy; "
            "give the task's y_labels.csv with --labels",
            *(session.log_path, log.answers[0].sample),
        )
        return
    found = _anomalies(session, classes) if len(log.answers[0].outputs) == 1 else _predictions(session, classes)
    yield measurement(
        model, target, found.metric, found.samples, started_at="", labels=found.labels, conditions=conditions
    )


def _predictions(session: _Session, classes: Mapping[str, int]) -> Scores:
    """Whether the largest output of each inference is that of the input's class."""
    answers = session.log.answers
    if len(classes) != len(answers):
        raise MeasurementError(f"{len(answers)} inferences of {len(classes)} inputs", where=str(session.log_path))
    outputs = np.array([each.outputs for each in answers])
    for name, each in classes.items():
        if each >= outputs.shape[1]:
            raise DataError(f"'{name}' is of class {each}, of {outputs.shape[1]}", where=str(session.log_path))
    (found,) = score_all("single_label", outputs=outputs, labels=np.array([classes[each.sample] for each in answers]))
    # Of outputs that are the same to the last printed digit, the runner may have taken another.
    ties = ((outputs == outputs.max(axis=1, keepdims=True)).sum(axis=1) > 1).mean()
    said = session.summary.top1 if session.summary else None
    _hold_against(session, "Top-1", found.value, said, _TOP1_DIGIT / 2 + ties)
    return found


def _anomalies(session: _Session, classes: Mapping[str, int]) -> Scores:
    """How badly each recording was rebuilt, the mean over its windows, as the runner has it."""
    errors: dict[str, list[float]] = {name: [] for name in classes}
    for each in session.log.answers:
        errors[each.sample].append(each.outputs[0])
    kinds = tuple(float(each) for each in classes.values())
    found = Scores(metric="auc", samples=tuple(map(statistics.fmean, errors.values())), labels=kinds)
    said = session.summary.auc if session.summary else None
    # The runner's area is one of a hundred thresholds.
    _hold_against(session, "AUC", found.value, said, _AUC_DIGIT * 1.5)
    return found


def _hold_against(session: _Session, name: str, value: float, said: float | None, tolerance: float) -> None:
    if said is not None and abs(value - said) > tolerance + _ROUNDING:
        raise MeasurementError(
            f"it says {name} {said:.3f}, the log and the classes of its inputs {value:.3f}",
            where=str(session.summary_path),
            next_step="give the log, the summary and the labels of one run",
        )


def _of_performance(session: _Session, model: Model, target: str) -> Measurement:
    """Mean times of one inference in each window."""
    answers, where = session.log.answers, session.log_path
    if len(answers) < _WINDOWS:
        raise MeasurementError(
            f"{len(answers)} windows", where=str(where), allowed=f"{_WINDOWS}, by MLPerf Tiny's rules"
        )
    for each in answers:
        if each.elapsed_us < _WINDOW_S * _US_PER_S:
            said = f"a window of {each.elapsed_us / _US_PER_S:.3f} s"
            raise MeasurementError(
                said, where=f"{where}:{each.line}", allowed=f"{_WINDOW_S:g} s, by MLPerf Tiny's rules"
            )
    if session.summary:
        _check_windows(session, session.summary)
    means_s = [each.elapsed_us / _US_PER_S / each.count for each in answers]
    return measurement(model, target, "window_latency", means_s, started_at="", conditions=_conditions(session))


def _check_windows(session: _Session, summary: Summary) -> None:
    """Check that a summary has the windows of its log."""
    of_log = [(each.count, each.elapsed_us / _US_PER_S) for each in session.log.answers]
    throughputs = [count / elapsed_s for count, elapsed_s in of_log]
    pairs = [("median throughput", statistics.median(throughputs), summary.median_throughput or 0.0)]
    if len(summary.windows) != len(of_log):
        pairs = [("number of windows", len(of_log), len(summary.windows))]
    for number, ((count, elapsed_s), said) in enumerate(zip(of_log, summary.windows, strict=False), 1):
        pairs += [
            (f"inferences in window {number}", count, said.count),
            (f"runtime of window {number}", elapsed_s, said.runtime_s),
            (f"throughput of window {number}", count / elapsed_s, said.throughput),
        ]
    for name, value, claimed in pairs:
        if abs(value - claimed) > _WINDOW_DIGIT / 2 + _ROUNDING:
            raise MeasurementError(
                f"its {name} is {claimed:g}, the log's {value:g}",
                where=str(session.summary_path),
                next_step="give the log and the summary of one run",
            )


def _classes(names: Iterable[str], labels: Path | None) -> dict[str, int] | None:
    """Classes by name of the input, in the order of the names; nothing where one is not known.

    Raises:
        DataError: The file of labels can't be read, or lacks a name.
    """
    known = _read_labels(labels) if labels else {}
    found: dict[str, int] = {}
    for name in names:
        said = known.get(name) if labels else _class_in(name)
        if said is None and labels:
            raise DataError(f"no class of '{name}', which the target was given", where=str(labels))
        if said is None:
            return None
        found[name] = said
    return found


def _class_in(name: str) -> int | None:
    """The class that a name of MLPerf Tiny's keyword spotting or anomaly detection ends or begins with."""
    word = re.fullmatch(r"tst_\d+_.+_(\d+)\.bin", name)
    if word:
        return int(word[1])
    kind = re.match(r"(normal|anomaly)_id_", name)
    return ("normal", "anomaly").index(kind[1]) if kind else None


def _read_labels(path: Path) -> dict[str, int]:
    """Read a file of MLPerf Tiny's labels: name, number of classes, class; lines that begin with # are comments."""
    found: dict[str, int] = {}
    for number, line in enumerate(_read(path).splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        place, row = f"{path}:{number}", [each.strip() for each in line.split(",")]
        numbers = [int(each) for each in row[1:3] if re.fullmatch(r"\d{1,9}", each)]
        if len(numbers) < 2 or numbers[1] >= numbers[0]:
            raise DataError(f"'{line[:60]}' is no label", where=place, allowed="name, number of classes, class")
        if found.setdefault(row[0], numbers[1]) != numbers[1]:
            raise DataError(f"two classes of '{row[0]}'", where=place)
    return found
