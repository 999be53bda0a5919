"""The subcommand that holds model files against what their targets can run, before they are run there."""

from __future__ import annotations

import dataclasses
import platform
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgekd.cli.group import EXIT_REFUSED, command, json_option

if TYPE_CHECKING:
    from edgekd.records import Target

_CPUINFO = Path("/proc/cpuinfo")


@command("""
    edgekd lint model.tflite --target cortex-m4
    edgekd lint model.tflite model.onnx --target host --target ethos-u55-128
    edgekd lint model.tflite --target my-board.toml --json
""")
@click.argument("models", nargs=-1, required=True, metavar="MODEL...", type=click.Path(path_type=Path))
@click.option(
    "--target", "names", multiple=True, default=("host",), show_default=True, help="Target, by name or .toml file."
)
@json_option
def lint(models: tuple[Path, ...], names: tuple[str, ...], as_json: bool) -> int:
    """Say what of a model file a target can't run, or runs slower than it need; exit 1 on errors."""
    from edgekd.config import load_target
    from edgekd.console import Terminal, plain_table
    from edgekd.lints import lint as find

    terminal = Terminal(as_json=as_json)
    targets = [_with_own_processor(load_target(name)) for name in dict.fromkeys(names)]
    found = [finding for model in models for finding in find(model, targets)]
    rows = [
        (each.severity, each.model, each.target, each.rule, each.layer[-40:], each.what, each.next_step)
        for each in found
    ]
    if rows:
        columns = ("", "file", "target", "rule", "layer", "what", "what to do")
        terminal.print(plain_table(columns, rows))
    errors = sum(each.severity == "error" for each in found)
    terminal.say(
        f"{_count(errors, 'error')}, {_count(len(found) - errors, 'warning')} in {_count(len(models), 'file')} "
        f"for {', '.join(each.name for each in targets)}"
    )
    terminal.result(found)
    return EXIT_REFUSED if errors else 0


def _with_own_processor(target: Target) -> Target:
    """Fill in what a target file leaves out about this machine."""
    if target.transport != "local" or target.arch is not None or target.cpu_features is not None:
        return target
    return dataclasses.replace(target, arch=platform.machine(), cpu_features=_processor_features())


def _processor_features() -> tuple[str, ...] | None:
    """Instructions of this processor as Linux names them: `flags` on x86, `Features` on ARM; `None` elsewhere."""
    if not _CPUINFO.is_file():
        return None
    for line in _CPUINFO.read_text(encoding="utf-8").splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("flags", "Features"):
            return tuple(value.split())
    return None


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
