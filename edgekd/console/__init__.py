"""What people see: progress with time left, tables, one-line errors; all of it also goes to the run's log.

Each name is loaded on first use: a gate needs no tables of comparisons.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgekd.console.comparison import comparison_table, measurements_table
    from edgekd.console.differences import differences_table
    from edgekd.console.history import history_tables
    from edgekd.console.tables import anatomy_tables, facts_table, plain_table
    from edgekd.console.terminal import Terminal
    from edgekd.console.verdict import checks_table, print_release, verdict_lines

__all__ = [
    "Terminal",
    "anatomy_tables",
    "checks_table",
    "comparison_table",
    "differences_table",
    "facts_table",
    "history_tables",
    "measurements_table",
    "plain_table",
    "print_release",
    "verdict_lines",
]

_HOME = {
    "Terminal": "terminal",
    "anatomy_tables": "tables",
    "checks_table": "verdict",
    "comparison_table": "comparison",
    "differences_table": "differences",
    "facts_table": "tables",
    "history_tables": "history",
    "measurements_table": "comparison",
    "plain_table": "tables",
    "print_release": "verdict",
    "verdict_lines": "verdict",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'edgekd.console' has no attribute '{name}'")
    return getattr(importlib.import_module(f"edgekd.console.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
