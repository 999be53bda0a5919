"""What people see: progress with time left, tables, one-line errors; all of it also goes to the run's log."""

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
