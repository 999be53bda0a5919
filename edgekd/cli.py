"""One function per subcommand: parse, call the stage, print, exit code; no logic."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from edgekd.errors import EdgekdError

if TYPE_CHECKING:
    from edgekd.config import LoadedRecipe
    from edgekd.records import Measurement, Release

F = TypeVar("F", bound=Callable[..., Any])
EXIT_REFUSED, EXIT_USER, EXIT_INCONCLUSIVE, EXIT_INTERRUPTED = 1, 2, 4, 130
_EXIT_OF = {"pass": 0, "fail": EXIT_REFUSED, "unmeasured": EXIT_REFUSED, "inconclusive": EXIT_INCONCLUSIVE}

_json = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON, and nothing else.")
_out = click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), help="Run folder [default: runs/NAME of the recipe]."
)
_set = click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a key, e.g. distill.epochs=3."
)


class _Group(click.Group):
    """Examples keep their line breaks in --help."""

    def format_epilog(self, _: click.Context, formatter: click.HelpFormatter) -> None:
        _write_examples(self, formatter)


class _Command(click.Command):
    def format_epilog(self, _: click.Context, formatter: click.HelpFormatter) -> None:
        _write_examples(self, formatter)


def _write_examples(command: click.Command, formatter: click.HelpFormatter) -> None:
    if command.epilog:
        with formatter.section("Examples"):
            formatter.write("".join(f"  {line.strip()}\n" for line in command.epilog.strip().splitlines()))


@click.group(
    cls=_Group,
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


def _command(epilog: str) -> Callable[[F], click.Command]:
    return edgekd.command(cls=_Command, epilog=epilog)


@_command("""
    edgekd run digits
    edgekd run my-recipe.toml --out runs/try-2 --set distill.epochs=60
    EDGEKD_DATA=~/data edgekd run fashion-mnist
""")
@click.argument("recipe")
@_out
@_set
@_json
def run(recipe: str, out: Path | None, overrides: tuple[str, ...], as_json: bool) -> int:
    """Run a recipe: teachers, student, files, measurements, verdict, report.

    RECIPE is the name of a shipped one (see `edgekd recipes`) or a .toml file. What is done already is
    skipped; a run that was killed goes on where it was.
    """
    return _run_until("report", recipe, out, overrides, as_json=as_json)


@_command("""
    edgekd distill digits
    edgekd distill my-recipe.toml --set distill.seed=1 --out runs/seed-1
""")
@click.argument("recipe")
@_out
@_set
@_json
def distill(recipe: str, out: Path | None, overrides: tuple[str, ...], as_json: bool) -> int:
    """Train a recipe's teachers and student, no further."""
    return _run_until("distill", recipe, out, overrides, as_json=as_json)


@_command("""
    edgekd export digits
    edgekd export my-recipe.toml --set 'export.precisions=["fp16"]'
""")
@click.argument("recipe")
@_out
@_set
@_json
def export(recipe: str, out: Path | None, overrides: tuple[str, ...], as_json: bool) -> int:
    """Make a recipe's ONNX and TFLite files, training first where that is not done."""
    return _run_until("export", recipe, out, overrides, as_json=as_json)


@_command("""
    edgekd bench digits
    edgekd bench model.tflite model.onnx --target host
    edgekd bench model.tflite --target host --target cortex-m4 --runs 5000 --out runs/bench
""")
@click.argument("models", nargs=-1, required=True, metavar="RECIPE | MODEL...")
@click.option("--target", "targets", multiple=True, help="Where to measure; may be given often [default: host].")
@click.option("--runs", type=click.IntRange(1), default=1000, show_default=True, help="Timed inferences per file.")
@click.option("--time-limit", type=click.FloatRange(0, min_open=True), default=5.0, show_default=True, help="Seconds.")
@click.option("--threads", type=click.IntRange(1), help="Threads [default: the target's own].")
@_out
@_set
@_json
def bench(
    models: tuple[str, ...],
    targets: tuple[str, ...],
    runs: int,
    time_limit: float,
    threads: int | None,
    out: Path | None,
    overrides: tuple[str, ...],
    as_json: bool,
) -> int:
    """Measure model files: any .tflite or .onnx, or those of a recipe."""
    if len(models) == 1 and not models[0].endswith((".tflite", ".onnx")) and not Path(models[0]).is_file():
        return _run_until("benchmark", models[0], out, overrides, as_json=as_json)
    if models[0].endswith(".toml"):
        return _run_until("benchmark", models[0], out, overrides, as_json=as_json)
    from edgekd.config import load_target
    from edgekd.console import Terminal, measurements_table
    from edgekd.records import BenchmarkSpec
    from edgekd.stages.benchmark import benchmark, describe_file

    terminal = Terminal(as_json=as_json)
    terminal.show_log()
    spec = BenchmarkSpec(targets=targets or ("host",), runs=runs, time_limit_s=time_limit, threads=threads)
    places = [load_target(name) for name in spec.targets]
    described = [describe_file(Path(model)) for model in models]
    with terminal.progress() as progress:
        measurements = benchmark(described, targets=places, spec=spec, progress=progress)
    if out:
        _save_bench(out, measurements)
    terminal.print(measurements_table(measurements))
    terminal.result(measurements)
    return 0


def _save_bench(out: Path, measurements: Sequence[Measurement]) -> None:
    from edgekd import store
    from edgekd.records import Run
    from edgekd.stages.report import report

    store.write_json(out / "measurements.json", measurements)
    report(Run(name=out.name, folder=out, recipe="", measurements=tuple(measurements)), folder=out)


@_command("""
    edgekd gate runs/digits
    edgekd gate runs/digits --set 'budgets.3.limit="20 kB"'
    edgekd gate runs/digits --budgets release.toml --json
""")
@click.argument("folder", metavar="RUN", type=click.Path(path_type=Path))
@click.option("--budgets", type=click.Path(path_type=Path), help="Take [[budgets]] from this file instead.")
@_set
@_json
def gate(folder: Path, budgets: Path | None, overrides: tuple[str, ...], as_json: bool) -> int:
    """Hold a run's measurements against budgets; exit 1 when one is broken or has no evidence."""
    from edgekd import pipeline
    from edgekd.config import load_budgets
    from edgekd.console import Terminal
    from edgekd.stages.gate import gate as judge

    terminal = Terminal(as_json=as_json)
    opened = pipeline.open_run(folder)
    chosen = load_budgets(budgets) if budgets else pipeline.open_recipe(folder, overrides).recipe.budgets
    release = judge(opened.measurements, budgets=chosen)
    _print_release(terminal, release)
    terminal.result({"status": release.status, "release": release})
    return _EXIT_OF[release.status]


@_command("""
    edgekd report runs/digits
    edgekd report runs/digits --json
""")
@click.argument("folder", metavar="RUN", type=click.Path(path_type=Path))
@_json
def report(folder: Path, as_json: bool) -> int:
    """Write report.html and report.json of a run, finished or not."""
    from edgekd import pipeline
    from edgekd.console import Terminal, comparison_table
    from edgekd.stages.report import report as write

    terminal = Terminal(as_json=as_json)
    opened = pipeline.open_run(folder)
    written = write(opened, folder=folder / "report")
    terminal.print(comparison_table(opened), "", f"report: {written.html_path}")
    terminal.result(written)
    return 0


@_command("""
    edgekd verify runs/digits
""")
@click.argument("folder", metavar="RUN", type=click.Path(path_type=Path))
@_json
def verify(folder: Path, as_json: bool) -> int:
    """Hold every file of a run against the sha256 in its manifest; exit 1 when one differs."""
    from edgekd import pipeline
    from edgekd.console import Terminal, plain_table

    terminal = Terminal(as_json=as_json)
    found = pipeline.verify(folder)
    wrong = [name for name, state in found.items() if state != "ok"]
    terminal.print(plain_table(("state", "file"), [(state, name) for name, state in found.items()]))
    terminal.print(f"{len(found) - len(wrong)} of {len(found)} files are what the manifest says")
    terminal.result(found)
    return EXIT_REFUSED if wrong else 0


@_command("""
    edgekd inspect model.tflite
    edgekd inspect model.onnx --layers
""")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--layers", is_flag=True, help="Also list every layer.")
@_json
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
    cls=_Group,
    epilog="""
    edgekd targets list
    edgekd targets show cortex-m4
    edgekd targets check host
    """,
)
def targets() -> None:
    """Say where models can be measured."""


@targets.command("list", cls=_Command, epilog="edgekd targets list --json")
@_json
def list_targets(as_json: bool) -> int:
    """List the targets that ship with edgekd."""
    from edgekd.config import load_target, target_names
    from edgekd.console import Terminal, plain_table

    terminal = Terminal(as_json=as_json)
    found = [load_target(name) for name in target_names()]
    rows = [(each.name, each.transport, ", ".join(each.runtimes), each.description) for each in found]
    terminal.print(plain_table(("target", "transport", "runtimes", "description"), rows))
    terminal.result(found)
    return 0


@targets.command("show", cls=_Command, epilog="edgekd targets show cortex-m4")
@click.argument("name")
@_json
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


@targets.command("check", cls=_Command, epilog="edgekd targets check host")
@click.argument("name")
@_json
def check_target(name: str, as_json: bool) -> int:
    """Look whether a target can be used now; exit 3 when it can't."""
    from edgekd.config import load_target
    from edgekd.console import Terminal, plain_table
    from edgekd.doctor import check_target as look
    from edgekd.errors import TargetError

    terminal = Terminal(as_json=as_json)
    findings = look(load_target(name))
    rows = [("ok" if each.right else "missing", each.name, each.detail, each.next_step) for each in findings]
    terminal.print(plain_table(("state", "what", "found", "what to do"), rows))
    terminal.result(findings)
    return 0 if all(each.right for each in findings) else TargetError.exit_code


@_command("""
    edgekd recipes
    edgekd recipes --schema > recipe.schema.json
""")
@click.option("--schema", is_flag=True, help="Print the JSON Schema of recipes, for editors.")
@_json
def recipes(schema: bool, as_json: bool) -> int:
    """List the recipes that ship with edgekd."""
    from edgekd.config import json_schema, load_recipe, recipe_names
    from edgekd.console import Terminal, plain_table

    terminal = Terminal(as_json=as_json or schema)
    found = {name: load_recipe(name).recipe.description for name in recipe_names()}
    terminal.print(plain_table(("recipe", "description"), list(found.items())))
    terminal.result(json_schema() if schema else found)
    return 0


@_command("""
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


@_command("""
    edgekd doctor
    edgekd doctor --json
""")
@_json
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


def _run_until(step: str, source: str, out: Path | None, overrides: Sequence[str], *, as_json: bool) -> int:
    from edgekd import pipeline
    from edgekd.config import load_recipe
    from edgekd.console import Terminal, comparison_table

    terminal = Terminal(as_json=as_json)
    terminal.show_log()
    loaded: LoadedRecipe = load_recipe(source, overrides)
    folder = out or Path("runs") / loaded.recipe.name
    with terminal.logging_to(folder), terminal.progress() as progress:
        outcome = pipeline.run(loaded, folder=folder, until=step, progress=progress)
    with terminal.logging_to(folder):
        terminal.print("", comparison_table(outcome.run), "")
        release = outcome.run.release if step == "report" else None
        if release:
            _print_release(terminal, release)
            terminal.print(f"report: {folder / 'report' / 'report.html'}")
        terminal.print(f"files: {folder / 'export'}" if step != "distill" else f"files: {folder / 'distill'}")
    terminal.result(
        {
            "folder": folder,
            "made": outcome.made,
            "skipped": outcome.skipped,
            "status": release.status if release else None,
            "models": outcome.run.models,
        }
    )
    return _EXIT_OF[release.status] if release else 0


def _print_release(terminal: Any, release: Release) -> None:
    from edgekd.console import checks_table, verdict_lines

    terminal.print(checks_table(release), "", verdict_lines(release))


def main() -> None:
    """Entry point of the command: one line for an error, the right exit code for everything."""
    sys.exit(_main())


def _main() -> int:  # noqa: PLR0911 - one exit code a line
    try:
        code: int = edgekd.main(standalone_mode=False) or 0
    except EdgekdError as error:
        click.echo(f"error: {error}", err=True)
        return error.exit_code
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.ClickException as error:
        error.show()
        return EXIT_USER
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted; the same command goes on where this one stopped", err=True)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has gone (`| head`); Python would complain once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception:  # noqa: BLE001 - the one place; a bug must show its traceback, and not exit with a user's code
        traceback.print_exc()
        click.echo("this is a bug in edgekd; please report it with the lines above", err=True)
        return 70
    return code
