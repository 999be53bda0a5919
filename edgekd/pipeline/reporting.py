"""Reports that are no step of a run: in Markdown, and of two runs against each other."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgekd.announcers import markdown
from edgekd.pipeline.baseline.changes import find_changes
from edgekd.pipeline.baseline.promoting import describe_run
from edgekd.pipeline.folder import open_run
from edgekd.records import Run
from edgekd.text import COMMENT_BYTES

if TYPE_CHECKING:
    from edgekd.stages.report import ComparedRuns


def markdown_report(run: Run, *, limit_bytes: int = COMMENT_BYTES) -> str:
    """Write a run's report as Markdown: the verdict as the gate tells it to CI, and below it what else is known.

    Args:
        run: Finished or not.
        limit_bytes: Checks may take half of it.
    """
    from edgekd.stages import report

    head = markdown.write(release=run.release, run=run, limit_bytes=limit_bytes // 2) if run.release else ""
    return report.markdown(run, limit_bytes=limit_bytes, head=head)


def compare_runs(before: Path, after: Path, *, folder: Path | None = None) -> ComparedRuns:
    """Hold a run, or a benchmark, against an earlier one.

    Args:
        before: Folder of the earlier one.
        after: Folder of the later one.
        folder: Where the page and its JSON go; `comparison` in the later run's folder without it.

    Raises:
        StoreError: Not a run folder, or damaged.
    """
    from edgekd.stages import report

    old, new = open_run(before), open_run(after)
    changes = find_changes(describe_run(old), describe_run(new))
    return report.compare_runs(old, new, changes=changes, folder=folder or after / "comparison")
