"""The last stage: everything a run knows, for machines in `report.json` and for people in one `report.html`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgekd.records import Change, Run
from edgekd.stages.report.balance import TermBalance, balances
from edgekd.stages.report.classes import classes_of
from edgekd.stages.report.comparison import Row, TargetFigures, summary_rows
from edgekd.stages.report.differences import TWO_SESSIONS, Differences, differences_between
from edgekd.stages.report.energy import energy_lines
from edgekd.stages.report.gain import Gain, gain_lines, gain_of
from edgekd.stages.report.kernels import KernelRow, kernel_rows
from edgekd.stages.report.languages import language_lines, language_rows
from edgekd.stages.report.lengths import length_lines
from edgekd.stages.report.markdown import markdown_sections
from edgekd.stages.report.page import render
from edgekd.stages.report.provenance import tools_of
from edgekd.stages.report.quality import label_of, lower_is_better, points_text, score_text
from edgekd.stages.report.rounding import Rounding, rounding_lines, rounding_of
from edgekd.stages.report.section import Findings
from edgekd.stages.report.summary import Figure, Summary, joined, summarise
from edgekd.stages.report.sustained import sustained_lines
from edgekd.stages.report.taint import taint_lines
from edgekd.stages.report.two_runs import answer_of, render_two
from edgekd.stages.report.windows import window_lines
from edgekd.store import json_bytes, to_json, write_bytes, write_json
from edgekd.text import markdown_text
from edgekd.verdict import Verdict, verdict_of

__all__ = [
    "TWO_SESSIONS",
    "ComparedRuns",
    "Differences",
    "Figure",
    "Gain",
    "KernelRow",
    "Report",
    "Rounding",
    "Row",
    "Summary",
    "TargetFigures",
    "TermBalance",
    "Verdict",
    "compare_runs",
    "kernel_rows",
    "label_of",
    "language_rows",
    "lower_is_better",
    "markdown",
    "points_text",
    "report",
    "score_text",
    "summary_rows",
    "taint_lines",
    "worth_lines",
]

FORMAT = 3  # of report.json; raised when a key changes its meaning


@dataclass(frozen=True, kw_only=True)
class ComparedRuns:
    """What a run is beside an earlier one, and where that was written.

    Attributes:
        answer: In one sentence.
    """

    json_path: Path
    html_path: Path
    answer: str
    differences: Differences


@dataclass(frozen=True, kw_only=True)
class Report:
    """Where a report was written: `json_path` for machines, `html_path` for people."""

    json_path: Path
    html_path: Path


def report(run: Run, *, folder: Path) -> Report:
    """Write `report.json` and the self-contained `report.html` of a run, finished or not.

    Equal runs give equal bytes. The page needs no network and asks for none. The JSON has summaries of measurements and
    not their raw samples, of which big runs have millions: keep those beside it.

    Args:
        run: What there is; every part may be missing.
        folder: Where the two files go; made when missing.

    Returns:
        The paths of both files.

    Raises:
        MeasurementError: Samples that can't be summarised, such as a latency that is not a number.
        StoreError: The folder is not writable or the disk is full; no half-written file is left.

    >>> import tempfile
    >>> run = Run(name="empty", folder=Path(), recipe="")
    >>> report(run, folder=Path(tempfile.mkdtemp())).html_path.name
    'report.html'
    """
    written = Report(json_path=folder / "report.json", html_path=folder / "report.html")
    found = find(run)
    content, html = _content(found), render(found).encode()
    write_bytes(written.json_path, json_bytes(content, indent=None))
    write_bytes(written.html_path, html)
    return written


def markdown(run: Run, *, limit_bytes: int, head: str = "") -> str:
    r"""Write the report of a run as Markdown.

    Args:
        run: What there is; every part may be missing.
        limit_bytes: What is longer loses rows of its tables.
        head: The verdict in Markdown, where the gate's own was written already.

    >>> print(markdown(Run(name="empty", folder=Path(), recipe=""), limit_bytes=1000))
    ## empty
    <BLANKLINE>
    The run has not come as far as a model file, so nothing is proven.
    <BLANKLINE>
    **Next:** run the same command again\: it goes on where it was
    """
    if not head:
        verdict = verdict_of(run)
        head = f"## {markdown_text(run.name)}\n\n{markdown_text(verdict.why)}\n"
        head += f"\n**Next:** {markdown_text(verdict.next_step)}\n" if verdict.next_step else ""
    room = limit_bytes - len(head.encode())
    return head + markdown_sections(find(run), worth=worth_lines(run), limit_bytes=room)


def compare_runs(before: Run, after: Run, *, changes: Sequence[Change] = (), folder: Path) -> ComparedRuns:
    """Write `comparison.html` and `comparison.json`: a run against an earlier one, or a benchmark against another.

    Args:
        before: The earlier run.
        after: The later one.
        changes: What else differs between them.
        folder: Where the two files go; made when missing.

    Raises:
        MeasurementError: Samples that can't be summarised.
        StoreError: The folder is not writable or the disk is full.

    >>> import tempfile
    >>> run = Run(name="empty", folder=Path(), recipe="")
    >>> compare_runs(run, run, folder=Path(tempfile.mkdtemp())).answer
    'The runs have no file in common.'
    """
    found = differences_between(before, after, changes)
    written = ComparedRuns(
        json_path=folder / "comparison.json",
        html_path=folder / "comparison.html",
        answer=answer_of(found),
        differences=found,
    )
    content = {"edgekd_comparison": 1, "answer": written.answer, "counts": found.counts, **to_json(found)}
    html = render_two(found).encode()
    write_json(written.json_path, _finite(content))
    write_bytes(written.html_path, html)
    return written


def find(run: Run) -> Findings:
    """Compute once what several parts of a report are about."""
    return Findings(run=run, rows=summary_rows(run), classes=classes_of(run))


def worth_lines(run: Run) -> tuple[str, ...]:
    """Say what distilling and learning with rounding were worth, and which losses hardly count, a line each.

    Before them, which times prove nothing; after them, what long runs cost, which latencies are means, and of what
    energies are.

    >>> worth_lines(Run(name="empty", folder=Path(), recipe=""))
    ()
    """
    gain, rounding = gain_of(run), rounding_of(run)
    warnings = [f"warning: {each.warning}" for each in balances(run.histories) if each.warning]
    return (
        *taint_lines(run.measurements),
        *(gain_lines(gain) if gain else ()),
        *(rounding_lines(rounding)[:1] if rounding else ()),
        *warnings,
        *length_lines(run.measurements),
        *language_lines(run.measurements),
        *sustained_lines(run.measurements),
        *window_lines(run.measurements),
        *energy_lines(run.measurements),
    )


def _content(found: Findings) -> Any:
    run = found.run
    verdict = verdict_of(run)
    return _finite(
        to_json(
            {
                "edgekd_report": FORMAT,
                "name": run.name,
                "verdict": verdict,
                "checks": run.release.checks if run.release else (),
                "evidence": run.release.evidence if run.release else (),
                "summary": found.rows,
                "classes": found.classes,
                "gain": gain_of(run),
                "rounding": rounding_of(run),
                "teachings": run.teachings,
                "balance": balances(run.histories),
                "kernels": kernel_rows(run.measurements),
                "mixed": run.mixed,
                "corrections": run.corrections,
                "findings": run.findings,
                "metrics": [summarise(each) for each in joined(run.measurements)],
                "models": [{**to_json(model), "path": _relative(model.path, run.folder)} for model in run.models],
                "environment": run.environment,
                "data_sha256": run.manifest.data if run.manifest else "",
                "tools": dict(tools_of(run)),
                "recipe": run.recipe,
                "histories": run.histories,
            }
        )
    )


def _relative(path: Path, folder: Path) -> str:
    return (path.relative_to(folder) if path.is_relative_to(folder) else path).as_posix()


def _finite(value: Any) -> Any:
    """Replace what JSON can't say, such as the loss of a training that diverged, by null."""
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
