"""The subcommand that holds model files against what their targets can run, before they are run there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgekd.cli.group import EXIT_REFUSED, command, json_option

if TYPE_CHECKING:
    from rich.table import Table

    from edgekd.records import Finding


@command("""
    edgekd lint model.tflite --target cortex-m4
    edgekd lint model.tflite model.onnx --target host --target ethos-u55-128
    edgekd lint model.tflite --target my-board.toml --json
""")
@click.argument("models", nargs=-1, required=True, metavar="MODEL...", type=click.Path(path_type=Path))
@click.option(
    "--target",
    "names",
    multiple=True,
    default=("host",),
    show_default=True,
    help="Names or .toml files, with commas.",
)
@json_option
def lint(models: tuple[Path, ...], names: tuple[str, ...], as_json: bool) -> int:
    """Say what of a model file a target can't run, or runs slower than it need; exit 1 on errors."""
    from edgekd.config import load_targets
    from edgekd.console import Terminal
    from edgekd.lints import lint as find
    from edgekd.lints import with_own_processor

    terminal = Terminal(as_json=as_json)
    targets = [with_own_processor(target) for target in load_targets(names)]
    found = [finding for model in models for finding in find(model, targets)]
    if found:
        terminal.print(findings_table(found))
    errors = sum(each.severity == "error" for each in found)
    terminal.say(
        f"{_count(errors, 'error')}, {_count(len(found) - errors, 'warning')} in {_count(len(models), 'file')} "
        f"for {', '.join(each.name for each in targets)}"
    )
    terminal.result(found)
    return EXIT_REFUSED if errors else 0


def findings_table(findings: Sequence[Finding], title: str | None = None) -> Table:
    """What was found, a row each."""
    from edgekd.console import plain_table

    rows = [
        (each.severity, each.model, each.target, each.rule, each.layer[-40:], each.what, each.next_step)
        for each in findings
    ]
    table = plain_table(("", "file", "target", "rule", "layer", "what", "what to do"), rows)
    table.title, table.title_justify = title, "left"
    return table


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
