"""GitHub's workflow commands: what keeps a release back, as annotations at the budgets' lines."""

from __future__ import annotations

from collections.abc import Mapping

from edgekd.announcers._text import NO_BUDGETS, worst_first
from edgekd.records import Budget, Check, Place, Release
from edgekd.text import printable
from edgekd.verdict import describe_budget, status_text

# GitHub shows so many of one kind a step, and drops the rest without a word.
_SHOWN = 10


def write(*, release: Release, places: Mapping[Budget, Place]) -> str:
    """Write an error for each check that keeps the release back, and notices and warnings of what else is no pass.

    Args:
        release: Of the gate.
        places: Where budgets are written.

    Returns:
        A line a command, no more than GitHub shows.
    """
    if not release.checks:
        return _command("error", "edgekd gate", NO_BUDGETS)
    found = [check for check in worst_first(release) if check.status != "pass"]
    if not found:
        return _command("notice", "edgekd gate", f"pass: {len(release.checks)} checks")
    shown = found if len(found) <= _SHOWN else found[: _SHOWN - 1]
    lines = [_annotate(_kind(release, check), check, places.get(check.budget)) for check in shown]
    if left := len(found) - len(shown):
        lines.append(
            _command(
                _kind(release, found[len(shown)]),
                "edgekd gate",
                f"and {left} more checks that are no pass; the log has them all",
            )
        )
    return "".join(lines)


def _kind(release: Release, check: Check) -> str:
    if release.is_held_back_by(check):
        return "error"
    return "notice" if check.waiver else "warning"


def _annotate(kind: str, check: Check, place: Place | None) -> str:
    title = f"{status_text(check)}: {describe_budget(check.budget)}"
    where = " on ".join(part for part in (check.model, check.target) if part)
    return _command(kind, title, f"{where}: {check.reason}" if where else check.reason, place)


def _command(kind: str, title: str, message: str, place: Place | None = None) -> str:
    properties = {"title": title, **({"file": place.file, "line": str(place.line)} if place else {})}
    said = ",".join(
        f"{key}={_escape(value).replace(':', '%3A').replace(',', '%2C')}" for key, value in properties.items()
    )
    return f"::{kind} {said}::{_escape(message)}\n"


def _escape(text: str) -> str:
    return printable(text).replace("%", "%25")
