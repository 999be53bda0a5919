"""What a run knows beside the verdict, as one Markdown page for tickets, release notes and pull requests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from edgekd.records import Check
from edgekd.stages.report.classes import ClassFigures
from edgekd.stages.report.comparison import Row, TargetFigures
from edgekd.stages.report.languages import language_rows
from edgekd.stages.report.provenance import recipe_hash, tools_of
from edgekd.stages.report.quality import points_text, score_text
from edgekd.stages.report.release import leave_of
from edgekd.stages.report.section import Findings
from edgekd.stages.report.summary import Figure
from edgekd.stages.report.words import capitalised, figure_text, interval_text, score_range_text
from edgekd.text import markdown_name, markdown_text
from edgekd.units import human

_NONE = "\N{EN DASH}"
_ALIGNED = {"left": "---", "right": "---:"}


@dataclass(frozen=True, kw_only=True)
class _Part:
    """A heading with lines or with a table below it; of a table that is too long rows are left out at the end."""

    title: str
    lines: tuple[str, ...] = ()
    head: tuple[tuple[str, str], ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    left_out: int = 0

    @property
    def text(self) -> str:
        written = [f"\n### {self.title}\n", *(f"- {line}" for line in self.lines)]
        if self.rows:
            written += [f"| {' | '.join(name for name, _ in self.head)} |"]
            written += [f"|{'|'.join(_ALIGNED[side] for _, side in self.head)}|"]
            written += [f"| {' | '.join(row)} |" for row in self.rows]
        if self.left_out:
            written += ["", f"{self.left_out} more are left out here, because the text would be too long."]
        return "\n".join(written) + "\n"

    @property
    def bytes(self) -> int:
        return len(self.text.encode())

    def halved(self) -> _Part:
        """The same with half as many rows, or lines."""
        rows, lines = len(self.rows) // 2, len(self.lines) // 2
        if self.rows:
            return replace(self, rows=self.rows[:rows], left_out=self.left_out + len(self.rows) - rows)
        return replace(self, lines=self.lines[:lines], left_out=self.left_out + len(self.lines) - lines)


def markdown_sections(found: Findings, *, worth: Sequence[str], limit_bytes: int) -> str:
    """Write files, gains, worst classes, latencies, waivers and provenance.

    Args:
        found: The run.
        worth: What distilling was worth, and what else people should know, a line each.
        limit_bytes: Tables that are too long for it lose rows; a line says how many.

    Returns:
        Markdown in which names mean nothing but themselves.
    """
    parts = [part for part in _parts(found, worth) if part.lines or part.rows]
    while parts and sum(part.bytes for part in parts) > limit_bytes:
        longest = max(range(len(parts)), key=lambda at: parts[at].bytes)
        if not (parts[longest].rows or parts[longest].lines):
            break
        parts[longest] = parts[longest].halved()
    return "".join(part.text for part in parts)


def _parts(found: Findings, worth: Sequence[str]) -> Iterator[_Part]:
    yield _Part(title="What to know", lines=tuple(f"{markdown_text(capitalised(line))}." for line in worth))
    yield _files(found)
    yield _latencies(found.rows)
    yield _languages(found)
    yield _classes(found)
    yield _waivers(found)
    yield _provenance(found)


def _places(rows: Sequence[Row]) -> Iterator[tuple[Row, TargetFigures]]:
    for row in rows:
        for place in row.targets or (TargetFigures(target=""),):
            yield row, place


def _target(place: TargetFigures) -> str:
    return markdown_text(f"{place.target} {place.detail}".strip()) or _NONE


def _marked(text: str, figure: Figure | None) -> str:
    """Say beside a value what is not as it should be of it."""
    if figure is None:
        return _NONE
    marks = [*([figure.basis] if figure.basis != "measured" else []), *(["tainted"] if figure.tainted else [])]
    return " ".join([text, *(f"({mark})" for mark in marks)])


def _files(found: Findings) -> _Part:
    head = (
        *(("file", "left"), ("target", "left"), ("size", "right"), ("compressed", "right")),
        *((markdown_text(found.metric.lower()), "right"), ("drop", "right"), ("memory", "right"), ("energy", "right")),
    )
    rows = tuple(
        (
            markdown_name(row.model),
            _target(place),
            _NONE if row.size is None else human(row.size, "B"),
            _NONE if row.compressed is None else human(row.compressed, "B"),
            _score(place.score, row.metric),
            _points(place.drop, row.metric),
            _marked(figure_text(memory, "B"), memory),
            _marked(figure_text(place.energy, "J"), place.energy),
        )
        for row, place in _places(found.rows)
        for memory in [place.arena or place.peak_memory or place.sram]
    )
    return _Part(title="Files", head=head, rows=rows)


def _latencies(rows: Sequence[Row]) -> _Part:
    return _Part(
        title="Latency",
        head=(("file", "left"), ("target", "left"), ("p50", "right"), ("p90", "right"), ("p99", "right")),
        rows=tuple(
            (markdown_name(row.model), _target(place), *(_time(each) for each in (place.p50, place.p90, place.p99)))
            for row, place in _places(rows)
            if place.p50
        ),
    )


def _languages(found: Findings) -> _Part:
    head = (
        *(("file", "left"), ("target", "left"), ("tokens before", "right"), ("first token", "right")),
        *(("prefill", "right"), ("decode", "right"), ("perplexity", "right")),
    )
    rows = tuple(
        (
            markdown_name(row.model),
            markdown_text(row.target),
            length,
            _time(row.first.get(length)),
            *(_marked(figure_text(each, "tokens/s"), each) for each in (row.prefill.get(length), rate)),
            _marked(figure_text(row.perplexity, ""), row.perplexity),
        )
        for row in language_rows(found.run.measurements)
        for length, rate in row.decode.items()
    )
    return _Part(title="Language models", head=head, rows=rows)


def _time(figure: Figure | None) -> str:
    if figure is None:
        return _NONE
    ends = interval_text(figure, "s")
    return _marked(figure_text(figure, "s") + (f" ({ends})" if ends else ""), figure)


def _score(figure: Figure | None, metric: str) -> str:
    if figure is None:
        return _NONE
    ends = score_range_text(figure, metric)
    return _marked(score_text(figure.value, metric) + (f" ({ends})" if ends else ""), figure)


def _points(figure: Figure | None, metric: str) -> str:
    if figure is None:
        return _NONE
    if figure.low is None or figure.high is None:
        return points_text(figure.value, metric)
    low, high = (points_text(end, metric) for end in (figure.low, figure.high))
    return f"{points_text(figure.value, metric)} ({low} to {high})"


def _classes(found: Findings) -> _Part:
    head = (
        *(("file", "left"), ("target", "left"), ("macro F1", "right"), ("MCC", "right")),
        *(("worst class", "left"), ("recall", "right")),
        *(("lost the most since float32", "left"), ("drop of recall", "right"), ("calibration error", "right")),
        ("as the teacher", "right"),
    )
    rows = tuple(
        (
            markdown_name(each.model),
            markdown_text(each.target),
            _score(each.macro_f1, "macro_f1"),
            _score(each.mcc, "mcc"),
            _class(each.worst),
            _score(each.worst.recall, "recall"),
            _class(each.lost),
            _points(each.lost.drop if each.lost else None, "recall"),
            _points(each.calibration, "recall"),
            _score(each.as_teacher, "teacher_agreement"),
        )
        for each in (found.classes.lines if found.classes else ())
    )
    return _Part(title="Worst classes", head=head, rows=rows)


def _class(figures: ClassFigures | None) -> str:
    return _NONE if figures is None else f"{markdown_name(figures.name)} ({figures.samples} samples)"


def _waivers(found: Findings) -> _Part:
    leave = leave_of(found.run.release)
    head = tuple((name, "left") for name in ("state", "waives", "owner", "reason", "until", "how far", "checks"))
    rows = tuple(
        (
            each.state,
            markdown_text(f"{each.what}, {each.where}"),
            *(markdown_text(text) for text in (each.waiver.owner, each.waiver.reason, each.waiver.expires)),
            markdown_text(each.waiver.limit or "any distance"),
            ", ".join(_place(check) for check in each.checks[:_CHECKS_NAMED]) or _NONE,
        )
        for each in (leave.waivers if leave else ())
    )
    return _Part(title="Waivers", head=head, rows=rows)


_CHECKS_NAMED = 5


def _place(check: Check) -> str:
    return f"{markdown_name(check.model)} on {markdown_text(check.target)}"


def _provenance(found: Findings) -> _Part:
    run = found.run
    lines = [("recipe", recipe_hash(run))]
    if run.manifest:
        lines += [
            ("data", run.manifest.data),
            *((f"teacher {name}", each) for name, each in run.manifest.teachers.items()),
        ]
    lines += [(model.name, model.sha256) for model in run.models if model.format in ("onnx", "tflite")]
    tools = [f"{step}: {', '.join(names)}" for step, names in tools_of(run)]
    if not tools:
        tools = [f"{name} {version}" for name, version in run.environment.items()]
    return _Part(
        title="Where it comes from",
        lines=(
            *(f"{markdown_name(name)} sha256 {markdown_name(digest)}" for name, digest in lines if digest),
            *(markdown_text(each) for each in tools),
        ),
    )
