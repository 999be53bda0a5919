"""Where two runs differ, as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from edgekd.console.tables import plain_table

if TYPE_CHECKING:
    from edgekd.stages.report import Differences

_SHOWN = 40
_NOTHING = ("unknown", "equal")


def differences_table(found: Differences) -> Table | None:
    """What got better or worse, or seems so; nothing where nothing did."""
    told = [(outcome, *each) for outcome in found.counts if outcome not in _NOTHING for each in found.of(outcome)]
    if not told:
        return None
    rows = [
        (outcome, pair.name, each.target, each.what, each.before, each.after, each.change)
        for outcome, pair, each in told[:_SHOWN]
    ]
    table = plain_table(("", "file", "target", "metric", escape(found.before), escape(found.after), "change"), rows)
    if len(told) > _SHOWN:
        table.caption, table.caption_justify = f"{len(told) - _SHOWN} more are on the page", "left"
    return table
