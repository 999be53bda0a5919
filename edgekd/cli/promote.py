"""The last release: the subcommand that makes a run it, and the options that hold another run against it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import click

from edgekd.cli.group import command, exit_code, json_option, set_option
from edgekd.units import human

F = TypeVar("F", bound=Callable[..., Any])
_PATH = click.Path(path_type=Path)


def baseline_options(function: F) -> F:
    """Add the options `--baseline`, `--tolerance` and `--comparison`."""
    baseline = click.option(
        "--baseline",
        metavar="WHERE",
        help="The last release: a run folder, baseline.json or manifest.json, REF or REF:PATH of git, or an https URL.",
    )
    tolerance = click.option(
        "--tolerance",
        "tolerances",
        multiple=True,
        metavar="METRIC=LIMIT",
        help='How much worse than that files may be, in place of [regressions] or of the default, e.g. latency="3 %".',
    )
    comparison = click.option(
        "--comparison",
        "comparisons",
        multiple=True,
        type=_PATH,
        help="What `edgekd compare --out` wrote, besides RUN/comparisons.",
    )
    return baseline(tolerance(comparison(function)))


@command("""
    edgekd promote runs/digits
    edgekd promote runs/digits --baseline HEAD --out .edgekd/baseline.json
    edgekd promote models/ --budgets release.toml
    edgekd promote runs/first --force
""")
@click.argument("folder", metavar="RUN", type=_PATH)
@click.option("--out", type=_PATH, help="File to write [default: .edgekd/baseline.json].")
@click.option("--force", is_flag=True, help="Also a run that the gate refuses; the verdict is kept with it.")
@click.option("--budgets", type=_PATH, help="Take [[budgets]] and [regressions] from this file instead.")
@click.option("--waivers", "waiver_file", type=_PATH, help="Budgets that need not be met: [[waivers]] of a file.")
@click.option("--strict/--lenient", default=True, help="Whether what is inconclusive refuses it [default: --strict].")
@baseline_options
@set_option
@json_option
def promote(
    folder: Path,
    out: Path | None,
    force: bool,
    budgets: Path | None,
    waiver_file: Path | None,
    strict: bool,
    baseline: str | None,
    tolerances: tuple[str, ...],
    comparisons: tuple[Path, ...],
    overrides: tuple[str, ...],
    as_json: bool,
) -> int:
    """Make a run the baseline that later ones are held against; exit 1 when the gate refuses it.

    The gate is asked again first. The file holds what later gates need, and is meant to be committed.
    """
    from edgekd import pipeline
    from edgekd.config import load_gate_spec
    from edgekd.console import Terminal, print_release
    from edgekd.records import GateSpec

    terminal = Terminal(as_json=as_json)
    given = load_gate_spec(budgets, overrides) if budgets else None
    waived = load_gate_spec(waiver_file).waivers if waiver_file else ()
    opened = pipeline.open_for_gate(folder)
    pipeline.check_files(opened)
    if given is None and force and not opened.recipe:
        given = GateSpec()
    spec = given or pipeline.open_gate_spec(folder, overrides)
    spec = replace(spec, waivers=(*spec.waivers, *waived))
    against = pipeline.open_against(
        opened, baseline=baseline, table=spec.regressions, tolerances=tolerances, comparisons=comparisons
    )
    release = pipeline.judge(opened, spec, strict=strict, against=against)
    print_release(terminal, release)
    file = None
    if force or not release.is_refused:
        file = out or Path(pipeline.BASELINE)
        pipeline.write_baseline(file, pipeline.promote(opened, release, spec))
        size = human(file.stat().st_size, "B")
        terminal.say(f"baseline: {file}, {size}; commit it, and gate the next run with --baseline {file}")
    else:
        terminal.say("not promoted: the gate refuses it; --force promotes it all the same")
    terminal.result({"status": release.status, "refused": release.is_refused, "file": file, "release": release})
    return 0 if file else exit_code(release)
