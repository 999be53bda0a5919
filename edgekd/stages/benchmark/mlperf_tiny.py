"""Reads what EEMBC's runner keeps of MLPerf Tiny on a microcontroller: the serial log, and the summary beside it."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from edgekd.errors import MeasurementError

# The target's clock counts microseconds in 32 bits, and starts again after 71 minutes.
_TURN = 2**32
# How far that clock may be from the runner's before a lap is something else than microseconds: oscillators are off by a
# percent or so, and lines come late through the serial port.
_CLOCK_SHARE, _LATE_S = 0.05, 0.1
_LEAST_CLOCK_S = 10.0
_LINE = re.compile(r"(\d+\.\d{3}) (\w+): (.*)")
_STEP = re.compile(r"m-sequencing-i\[(\d{1,9})\]-command\[(.*)\]-ack\[.*")
_COMMAND = re.compile(r'Command "(.*)"')
_LOAD = re.compile(r'bload dut "(?:.*[\\/])?([^\\/"]+)"(?: (\d+) (\d+))?')
_INFER = re.compile(r"dut infer ([1-9]\d{0,8}) (\d{1,9})")
# What the target says to it, in this order; N is a whole number and X are numbers with commas between.
_ANSWER = (
    *("m-warmup-start-N", "m-warmup-done", "m-infer-start-N", "m-lap-us-N", "m-lap-us-N", "m-infer-done"),
    *("m-results-[X]", "m-ready"),
)
_PATTERNS = {
    form: re.compile(
        re.escape(form).replace("N", r"(\d{1,19})").replace("X", r"(-?\d{1,19}\.\d+(?:,-?\d{1,19}\.\d+)*)")
    )
    for form in _ANSWER
}
_ALLOWED = "log.txt of EEMBC's runner in its mode ML Performance"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the target said when it was told to infer.

    Attributes:
        line: Of the log, where it was told.
        sample: Name of the file that the input is from.
        size_bytes: Of the input.
        count: Inferences between the two laps.
        elapsed_us: Between the two laps, by the target's clock.
        outputs: Of the last inference, as printed.
    """

    line: int
    sample: str
    size_bytes: int
    count: int
    elapsed_us: int
    outputs: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class SerialLog:
    """One session of the runner with one target.

    Attributes:
        session: The runner's name for it, its local time in digits.
        runner: Its version.
        firmware: As the target calls it.
        model: As the target calls it (`kws01`); it does not say which file that was made from.
        clock_ratio: The target's time over that of the runner's machine, from the first lap to the last; nothing where
            that is too short to tell.
    """

    session: str
    runner: str
    firmware: str
    model: str
    answers: tuple[Answer, ...]
    clock_ratio: float | None


@dataclass(frozen=True, kw_only=True)
class Window:
    """What a summary says of a performance window, rounded: inferences, s, and inferences per s."""

    count: int
    runtime_s: float
    throughput: float


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What the runner made of a session: shares and areas of one, rounded."""

    top1: float | None = None
    auc: float | None = None
    windows: tuple[Window, ...] = ()
    median_throughput: float | None = None


@dataclass(frozen=True, kw_only=True)
class _Line:
    number: int
    at_s: float
    source: str
    text: str


@dataclass(frozen=True, kw_only=True)
class _Exchange:
    """A command, and what was said until the next."""

    command: str
    number: int
    said: list[_Line] = field(default_factory=list)

    def of(self, source: str) -> list[_Line]:
        return [line for line in self.said if line.source == source and line.text.startswith("m-")]


def parse_log(text: str, where: str) -> SerialLog:
    r"""Read a serial log, whole or not at all.

    Args:
        text: All of `log.txt`.
        where: Its name, for errors.

    Raises:
        MeasurementError: Another kind of file, one that was cut short or lost lines, a target that reported an error,
            or laps that the log's own times contradict.

    >>> parse_log("Hello", "log.txt")
    Traceback (most recent call last):
    edgekd.errors.MeasurementError: log.txt:1: 'Hello' is no line of such a log;
    allowed: log.txt of EEMBC's runner in its mode ML Performance
    """
    lines = list(_read_lines(text, where))
    session = _check_ends(lines, where)
    _check_kind(lines, where)
    exchanges = _exchanges(lines, where)
    answers = tuple(_answers(exchanges, where))
    if not answers:
        raise MeasurementError("no inference in it", where=where)
    outputs = {len(each.outputs) for each in answers}
    if len(outputs) > 1:
        raise MeasurementError(f"results of {' and '.join(map(str, sorted(outputs)))} numbers in one log", where=where)
    models = r"m-model-\[(.+)\]", r"m-bm-cfg-name\[ulp-mlperf\]-key\[model\]-val\[(.+)\]"
    model, asked = (_find(lines, pattern, where) for pattern in models)
    if model != asked:
        raise MeasurementError(f"the target runs '{model}', the runner asked for '{asked}'", where=where)
    return SerialLog(
        session=session,
        runner=_find(lines, r"m-version\[(.+)\]", where),
        firmware=_find(lines, r"m-profile-\[(.+)\]", where),
        model=model,
        answers=answers,
        clock_ratio=_clock_ratio([line for each in exchanges for line in each.of("dut")]),
    )


def _read_lines(text: str, where: str) -> Iterator[_Line]:
    last: _Line | None = None
    for number, raw in enumerate(text.splitlines(), 1):
        found = _LINE.fullmatch(raw)
        if found:
            # Some firmwares repeat the command, and '%' ends it.
            said = found[3].rpartition("%")[2] if found[2] == "dut" else found[3]
            line = _Line(number=number, at_s=float(found[1]), source=found[2], text=said)
        elif last and last.source == "dut" and re.match("[em]-", raw):
            # What the target says in several lines has one time.
            line = _Line(number=number, at_s=last.at_s, source="dut", text=raw)
        else:
            raise MeasurementError(
                f"'{raw[:60]}' is no line of such a log", where=f"{where}:{number}", allowed=_ALLOWED
            )
        if last and line.at_s < last.at_s:
            raise MeasurementError(
                f"time goes back, from {last.at_s:.3f} to {line.at_s:.3f} s", where=f"{where}:{number}"
            )
        if line.source == "dut" and line.text.startswith("e-"):
            raise MeasurementError(f"the target reported '{line.text}'", where=f"{where}:{number}")
        yield line
        last = line


def _check_ends(lines: Sequence[_Line], where: str) -> str:
    """Name the session, which begins and ends in this log."""
    first, last = (
        [(line, found[1]) for line in lines if (found := re.fullmatch(rf"m-session-{end}-id\[(\d+)\]", line.text))]
        for end in ("start", "stop")
    )
    if not first:
        raise MeasurementError("it does not begin with a session", where=f"{where}:1", allowed=_ALLOWED)
    if len(first) > 1:
        raise MeasurementError("a second session begins", where=f"{where}:{first[1][0].number}", allowed="one a file")
    stopped = any(line.text == "m-sequencer-stop" for line in lines)
    if not last or not stopped:
        raise MeasurementError(
            f"it ends before session {first[0][1]} does: it was cut short",
            where=f"{where}:{lines[-1].number}",
            next_step="take the whole log.txt of the session",
        )
    if last[0][1] != first[0][1]:
        raise MeasurementError(f"session {first[0][1]} begins, {last[0][1]} ends", where=f"{where}:{last[0][0].number}")
    return first[0][1]


def _check_kind(lines: Sequence[_Line], where: str) -> None:
    name = _find(lines, r"m-bmark-run-name\[(.+)\]-code\[.+\]", where)
    if _find(lines, r"m-bmark-run-name\[.+\]-code\[(.+)\]", where) != "ulp-mlperf":
        raise MeasurementError(f"it is of '{name}', where the target's clock is off", where=where, allowed=_ALLOWED)


def _find(lines: Sequence[_Line], pattern: str, where: str) -> str:
    found = {match[1]: line for line in lines if (match := re.fullmatch(pattern, line.text))}
    if len(found) != 1:
        words = " and ".join(f"'{each}'" for each in found) or "nothing"
        name = pattern.partition("\\[")[0].removeprefix("m-").removesuffix("-")
        raise MeasurementError(f"it says {words} of its {name}", where=where, allowed="one")
    return next(iter(found))


def _exchanges(lines: Sequence[_Line], where: str) -> list[_Exchange]:
    """Gather commands with what was said to them; all are numbered and announced, so that none can be missing."""
    found: list[_Exchange] = []
    steps: list[str] = []
    for line in lines:
        place = f"{where}:{line.number}"
        if line.source == "sequencer" and (match := _STEP.fullmatch(line.text)):
            if len(steps) != len(found):
                raise MeasurementError(f"the command '{steps[-1]}' is missing", where=place)
            if int(match[1]) != len(steps) + 1:
                raise MeasurementError(f"step {match[1]} where step {len(steps) + 1} is due", where=place)
            steps.append(match[2])
        elif line.source == "parser" and (match := _COMMAND.fullmatch(line.text)):
            if [match[1]] != steps[len(found) :]:
                raise MeasurementError(f"the command '{match[1]}', which was not announced", where=place)
            found.append(_Exchange(command=match[1], number=line.number))
        elif found:
            found[-1].said.append(line)
    if len(steps) != len(found):
        raise MeasurementError(f"the command '{steps[-1]}' is missing", where=where)
    return found


def _answers(exchanges: Sequence[_Exchange], where: str) -> Iterator[Answer]:
    loaded: tuple[str, int] | None = None
    for each in exchanges:
        place = f"{where}:{each.number}"
        if load := _LOAD.fullmatch(each.command):
            sent = [
                int(found[1]) for line in each.said if (found := re.fullmatch(r"Sending (\d{1,9}) bytes", line.text))
            ]
            if len(sent) != 1 or not any(line.text == "m-bload-done" for line in each.said):
                raise MeasurementError(f"'{load[1]}' did not reach the target", where=place)
            loaded = load[1], sent[0]
        elif each.command.startswith("dut infer"):
            infer = _INFER.fullmatch(each.command)
            if infer is None or loaded is None:
                raise MeasurementError(f"'{each.command[:60]}' without an input or a number", where=place)
            yield _answer(each, int(infer[1]), int(infer[2]), loaded, where)
            loaded = None


def _answer(exchange: _Exchange, count: int, warmups: int, loaded: tuple[str, int], where: str) -> Answer:
    said = exchange.of("dut")
    found = _match(said, exchange, where)
    told = [int(found[0][1]), int(found[2][1])]
    if told != [warmups, count]:
        raise MeasurementError(
            f"{told[0]} + {told[1]} inferences where {warmups} + {count} were asked for",
            where=f"{where}:{said[0].number}",
        )
    start, end = said[3], said[4]
    elapsed_us = (int(found[4][1]) - int(found[3][1])) % _TURN
    by_log_s = end.at_s - start.at_s
    if not elapsed_us or abs(elapsed_us / 1e6 - by_log_s) > _CLOCK_SHARE * by_log_s + _LATE_S:
        raise MeasurementError(
            f"the laps are {elapsed_us} µs apart, their lines {by_log_s:.3f} s", where=f"{where}:{end.number}"
        )
    return Answer(
        line=exchange.number,
        sample=loaded[0],
        size_bytes=loaded[1],
        count=count,
        elapsed_us=elapsed_us,
        outputs=tuple(float(each) for each in found[6][1].split(",")),
    )


def _match(said: Sequence[_Line], exchange: _Exchange, where: str) -> list[re.Match[str]]:
    """Match what was said with what is said to `infer`, line by line."""
    found = []
    for line, form in itertools.zip_longest(said, _ANSWER):
        place = f"{where}:{line.number if line else exchange.number}"
        if line is None:
            raise MeasurementError(f"the target said no more where '{form}' is due", where=place)
        match = _PATTERNS[form].fullmatch(line.text) if form else None
        if match is None:
            raise MeasurementError(
                f"the target said '{line.text[:60]}' where '{form or 'no more'}' is due", where=place
            )
        found.append(match)
    return found


def _clock_ratio(said: Sequence[_Line]) -> float | None:
    laps = [(line.at_s, int(found[1])) for line in said if (found := _PATTERNS["m-lap-us-N"].fullmatch(line.text))]
    by_log_s = laps[-1][0] - laps[0][0]
    if by_log_s < _LEAST_CLOCK_S:
        return None
    elapsed_us = sum((later - lap) % _TURN for (_, lap), (_, later) in itertools.pairwise(laps))
    return elapsed_us / 1e6 / by_log_s


def parse_summary(text: str, where: str) -> Summary:
    r"""Read `results.txt`, which the runner writes beside the log.

    Args:
        text: All of it.
        where: Its name, for errors.

    Raises:
        MeasurementError: Another kind of file, or one that says nothing.

    >>> parse_summary("00381.642 ulp-mlperf: Top-1: 90.2%\n00381.666 ulp-mlperf: AUC: 0.99", "results.txt").top1
    0.902
    """
    said = []
    for number, raw in enumerate(text.splitlines(), 1):
        found = re.fullmatch(r"\d+\.\d{3} ulp-mlperf: (.*)", raw)
        if not found:
            raise MeasurementError(
                f"'{raw[:60]}' is no line of a summary",
                where=f"{where}:{number}",
                allowed="results.txt of EEMBC's runner",
            )
        said.append(found[1])
    joined = "\n".join(said)
    windows = re.findall(
        r"# Inferences : +(\d{1,9})\n +Runtime +: +(\d+\.\d+) sec\.\n +Throughput +: +(\d+\.\d+) inf\./sec\.", joined
    )
    top1, auc, median = (
        re.search(pattern, joined)
        for pattern in (r"Top-1: (\d+\.\d+)%", r"AUC: (\d+\.\d+)", r"Median throughput is (\d+\.\d+) inf\./sec\.")
    )
    if not (top1 or auc or median) or (median is not None) != bool(windows):
        raise MeasurementError("neither accuracy nor windows with their median are in it", where=where)
    return Summary(
        top1=float(top1[1]) / 100 if top1 else None,
        auc=float(auc[1]) if auc else None,
        windows=tuple(
            Window(count=int(count), runtime_s=float(runtime), throughput=float(throughput))
            for count, runtime, throughput in windows
        ),
        median_throughput=float(median[1]) if median else None,
    )
