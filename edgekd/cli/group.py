"""The command itself, and what its subcommands share."""

from __future__ import annotations

import gc
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from edgekd.records import Release

F = TypeVar("F", bound=Callable[..., Any])
EXIT_REFUSED, EXIT_USER, EXIT_INCONCLUSIVE, EXIT_BUG, EXIT_INTERRUPTED, EXIT_READER_GONE = 1, 2, 4, 70, 130, 141
EXIT_OF = {"pass": 0, "fail": EXIT_REFUSED, "unmeasured": EXIT_REFUSED, "inconclusive": EXIT_INCONCLUSIVE}
# The file below `edgekd.cli` that has it: those of other subcommands need not be imported.
_HOMES = {
    "bench": "stages",
    "bundle": "evidence",
    "cache": "caches",
    "compare": "comparing",
    "distill": "stages",
    "doctor": "facts",
    "export": "exporting",
    "gate": "gating",
    "history": "history",
    "init": "facts",
    "inspect": "facts",
    "lint": "lint",
    "package": "packaging",
    "promote": "promote",
    "recipes": "facts",
    "report": "reporting",
    "run": "stages",
    "targets": "facts",
    "verify": "evidence",
}
# They end before garbage matters; others look for it (see `edgekd.cli.main`).
_SHORT = {"gate", "promote", "report"}


def exit_code(release: Release) -> int:
    """The exit code of a verdict."""
    return EXIT_OF[release.status] if release.is_refused else 0


json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON, and nothing else.")
out_option = click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), help="Run folder [default: runs/NAME of the recipe]."
)
set_option = click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a key, e.g. distill.epochs=3."
)


class Group(click.Group):
    """Subcommands, with examples in --help."""

    def format_epilog(self, _: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples, with their line breaks."""
        _write_examples(self, formatter)


class Everything(Group):
    """All subcommands, each imported when it is asked for."""

    def list_commands(self, _: click.Context) -> list[str]:
        """Name them, in alphabetical order."""
        return sorted(_HOMES)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """Import the file that has it."""
        if name not in _SHORT:
            gc.enable()
        if name in _HOMES:
            import_module(f"edgekd.cli.{_HOMES[name]}")
        return super().get_command(context, name)


class Command(click.Command):
    """A subcommand, with examples in --help."""

    def get_short_help_str(self, limit: int = 200) -> str:
        """Give the whole first sentence: click would cut it to one line."""
        return super().get_short_help_str(max(limit, 200))

    def format_epilog(self, _: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples, with their line breaks."""
        _write_examples(self, formatter)


def _write_examples(command: click.Command, formatter: click.HelpFormatter) -> None:
    if command.epilog:
        with formatter.section("Examples"):
            formatter.write("".join(f"  {line.strip()}\n" for line in command.epilog.strip().splitlines()))


@click.group(
    cls=Everything,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="""
    edgekd run digits
    edgekd bench model.tflite model.onnx --target host
    edgekd gate runs/digits
    """,
)
@click.version_option(package_name="edgekd")
def edgekd() -> None:
    """Distil a small student, export it, measure it, and gate its release.

    Exit codes: 0 ok, 1 gate refused, 2 user error, 3 target error, 4 inconclusive, 130 interrupted.
    """


def command(epilog: str) -> Callable[[F], click.Command]:
    """Make a function a subcommand; `epilog` holds its examples, one a line."""
    return edgekd.command(cls=Command, epilog=epilog)
