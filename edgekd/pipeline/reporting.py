"""Reports that are no step of a run: in Markdown, and of two runs against each other."""

from __future__ import annotations

from edgekd.announcers import markdown
from edgekd.records import Run
from edgekd.text import COMMENT_BYTES


def markdown_report(run: Run, *, limit_bytes: int = COMMENT_BYTES) -> str:
    """Write a run's report as Markdown: the verdict as the gate tells it to CI, and below it what else is known.

    Args:
        run: Finished or not.
        limit_bytes: Checks may take half of it.
    """
    from edgekd.stages import report

    head = markdown.write(release=run.release, run=run, limit_bytes=limit_bytes // 2) if run.release else ""
    return report.markdown(run, limit_bytes=limit_bytes, head=head)
