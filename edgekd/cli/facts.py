"""Subcommands that look at things: run folders, model files, targets, recipes, what is installed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgekd.cli.group import Command, Group, command, edgekd, json_option

if TYPE_CHECKING:
    from edgekd.console import Terminal
    from edgekd.records import Target

_FOLDER = click.Path(path_type=Path, file_okay=False)


@command("""
    edgekd inspect model.tflite
    edgekd inspect model.onnx --layers
""")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--layers", is_flag=True, help="Also list every layer.")
@json_option
def inspect(model: Path, layers: bool, as_json: bool) -> int:
    """Say what is in a model file: operators, parameters, MACs, tensor types, size by layer."""
    from edgekd.console import Terminal, anatomy_tables
    from edgekd.inspection import inspect as look

    terminal = Terminal(as_json=as_json)
    anatomy = look(model)
    terminal.print(*anatomy_tables(anatomy, layers=layers))
    terminal.result(anatomy)
    return 0


@edgekd.group(
    cls=Group,
    epilog="""
    edgekd targets list
    edgekd targets show cortex-m4
    edgekd targets check host
    edgekd targets setup arm64-emulated
    """,
)
def targets() -> None:
    """Say where models can be measured."""


@targets.command("list", cls=Command, epilog="edgekd targets list --json")
@json_option
def list_targets(as_json: bool) -> int:
    """List the targets that ship with edgekd and your own in ~/.config/edgekd/targets."""
    from edgekd import store
    from edgekd.config import TARGETS, load_target, target_files
    from edgekd.console import Terminal, plain_table

    terminal = Terminal(as_json=as_json)
    found = [(load_target(name), file) for name, file in target_files().items()]
    rows = [
        (
            each.name,
            each.transport,
            ", ".join(each.runtimes),
            "edgekd" if file.parent == TARGETS else str(file),
            each.description,
        )
        for each, file in found
    ]
    terminal.print(plain_table(("target", "transport", "runtimes", "from", "description"), rows))
    terminal.result([{**store.to_json(each), "file": file} for each, file in found])
    return 0


@targets.command("show", cls=Command, epilog="edgekd targets show cortex-m4")
@click.argument("name")
@json_option
def show_target(name: str, as_json: bool) -> int:
    """Show all that is known of a target (a name or a .toml file)."""
    from edgekd import store
    from edgekd.config import load_target
    from edgekd.console import Terminal, facts_table

    terminal = Terminal(as_json=as_json)
    target = load_target(name)
    facts = {key: value for key, value in store.to_json(target).items() if value is not None}
    terminal.print(facts_table(facts))
    terminal.result(target)
    return 0


@targets.command("check", cls=Command, epilog="edgekd targets check host")
@click.argument("name")
@json_option
def check_target(name: str, as_json: bool) -> int:
    """Look whether a target can be used now; exit 3 when it can't."""
    from edgekd.config import load_target
    from edgekd.console import Terminal

    return _print_check(Terminal(as_json=as_json), load_target(name))


def _print_check(terminal: Terminal, target: Target) -> int:
    from edgekd.console import plain_table
    from edgekd.doctor import check_target as look
    from edgekd.errors import TargetError

    findings = look(target)
    rows = [("ok" if each.right else "missing", each.name, each.detail, each.next_step) for each in findings]
    terminal.print(plain_table(("state", "what", "found", "what to do"), rows))
    terminal.result(findings)
    return 0 if all(each.right for each in findings) else TargetError.exit_code


@targets.command(
    "setup",
    cls=Command,
    epilog="""
    edgekd targets setup arm64-emulated
    edgekd targets setup arm64-emulated --keep packages/
    edgekd targets setup my-pi.toml --from wheels/
    """,
)
@click.argument("name")
@click.option("--from", "source", type=_FOLDER, help="A folder with what would be downloaded; no network is used.")
@click.option("--keep", type=_FOLDER, help="Copy what is downloaded into a folder.")
@json_option
def set_up_target(name: str, source: Path | None, keep: Path | None, as_json: bool) -> int:
    """Make what a target needs, in place of what is there, and check it.

    An emulated arm64 gets its root file system: packages by apt-get, wheels by pip; neither needs root. A machine
    behind ssh gets a Python environment in ~/.cache/edgekd, of wheels that are downloaded here.
    A phone gets its benchmark_model.
    """
    from edgekd.config import load_target
    from edgekd.console import Terminal
    from edgekd.doctor import set_up

    terminal = Terminal(as_json=as_json)
    target = load_target(name)
    with terminal.progress() as progress:
        set_up(target, source=source, keep=keep, progress=progress)
    return _print_check(terminal, target)


@command("""
    edgekd recipes
    edgekd recipes --schema > recipe.schema.json
""")
@click.option("--schema", is_flag=True, help="Print the JSON Schema of recipes, for editors.")
@json_option
def recipes(schema: bool, as_json: bool) -> int:
    """List the recipes that ship with edgekd."""
    from edgekd.config import json_schema, load_recipe, recipe_names
    from edgekd.console import Terminal, plain_table

    terminal = Terminal(as_json=as_json or schema)
    found = {name: load_recipe(name).recipe.description for name in recipe_names()}
    terminal.print(plain_table(("recipe", "description"), list(found.items())))
    terminal.result(json_schema() if schema else found)
    return 0


@command("""
    edgekd init digits
    edgekd init fashion-mnist --out my-recipe.toml
""")
@click.argument("name")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="File to write [default: NAME.toml].")
def init(name: str, out: Path | None) -> int:
    """Copy a shipped recipe, to start your own from."""
    from edgekd.config import copy_recipe

    path = copy_recipe(name, out or Path(f"{name}.toml"))
    click.echo(f"wrote {path}; change it, then: edgekd run {path}")
    return 0


@command("""
    edgekd doctor
    edgekd doctor --json
""")
@json_option
def doctor(as_json: bool) -> int:
    """Say what is installed, which extras are missing, and the command that adds them."""
    from edgekd.console import Terminal, plain_table
    from edgekd.doctor import examine

    terminal = Terminal(as_json=as_json)
    findings = examine()
    rows = [("ok" if each.right else "missing", each.name, each.detail, each.next_step) for each in findings]
    terminal.print(plain_table(("state", "what", "found", "what to do"), rows))
    terminal.result(findings)
    return 0
