"""The subcommand that gives a verdict on a run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from edgekd.cli.announcing import announce, announce_options
from edgekd.cli.group import command, json_option, set_option
from edgekd.cli.history import history_options, keep
from edgekd.cli.logs import source_lines
from edgekd.cli.promote import baseline_options


@command("""
    edgekd gate runs/digits
    edgekd gate runs/digits --set 'budgets.3.limit="20 kB"'
    edgekd gate runs/digits --budgets release.toml --json
    edgekd gate runs/digits --waivers waivers.toml --lenient
    edgekd gate models/ --budgets release.toml
    edgekd gate runs/digits --baseline .edgekd/baseline.json
    edgekd gate runs/digits --baseline v1.2.0 --tolerance latency="3 %" --comparison runs/compared
    edgekd gate runs/digits --annotate --write junit=edgekd.xml --write sarif=edgekd.sarif
    edgekd gate runs/digits --budgets release.toml --report site/
""")
@click.argument("folder", metavar="RUN", type=click.Path(path_type=Path))
@click.option(
    "--budgets", type=click.Path(path_type=Path), help="Take [[budgets]] and [regressions] from this file instead."
)
@click.option(
    "--waivers",
    "waiver_file",
    type=click.Path(path_type=Path),
    help="Budgets that need not be met: [[waivers]] of a file.",
)
@click.option(
    "--strict/--lenient", default=True, help="Whether what is inconclusive refuses the release [default: --strict]."
)
@click.option(
    "--report",
    "page",
    type=click.Path(path_type=Path, file_okay=False),
    help="Also write the report with this verdict.",
)
@baseline_options
@announce_options
@history_options
@set_option
@json_option
def gate(
    folder: Path,
    budgets: Path | None,
    waiver_file: Path | None,
    strict: bool,
    page: Path | None,
    baseline: str | None,
    tolerances: tuple[str, ...],
    comparisons: tuple[Path, ...],
    wishes: tuple[str, ...],
    annotate: bool,
    history_file: Path | None,
    no_history: bool,
    overrides: tuple[str, ...],
    as_json: bool,
) -> int:
    """Hold a run's measurements against budgets; exit 1 when one is broken or has no evidence.

    RUN may also be any folder of .onnx and .tflite files: their sizes are taken then, and nothing is run.
    """
    from edgekd import pipeline
    from edgekd.config import load_gate_spec
    from edgekd.console import Terminal, print_release

    terminal = Terminal(as_json=as_json)
    asked = pipeline.read_wishes(wishes)
    given = load_gate_spec(budgets, overrides) if budgets else None
    waived = load_gate_spec(waiver_file).waivers if waiver_file else ()
    spec = given or pipeline.open_gate_spec(folder, overrides)
    # The page shows them whether anything limits them or not.
    unused = () if page else pipeline.unused_metrics(spec, tolerances)
    opened = pipeline.open_for_gate(folder, without=unused, whole=page is not None)
    pipeline.check_files(opened)
    spec = replace(spec, waivers=(*spec.waivers, *waived))
    against = None
    if baseline is not None or tolerances or comparisons:
        against = pipeline.open_against(
            opened, baseline=baseline, table=spec.regressions, tolerances=tolerances, comparisons=comparisons
        )
    release = pipeline.judge(opened, spec, strict=strict, against=against)
    print_release(terminal, release)
    if spec.regressions is not None and baseline is None:
        terminal.say("not held against the last release: give it with --baseline")
    if not release.is_refused:
        for line in source_lines(opened.measurements):
            terminal.say(line)
    if page:
        terminal.say(f"report: {pipeline.report_verdict(opened, release, page).html_path}")
    terminal.result({"status": release.status, "refused": release.is_refused, "release": release})
    keep(release, opened, file=history_file, wanted=not no_history)
    places = pipeline.find_places(budgets or folder / pipeline.RECIPE, spec.budgets)
    return announce(asked, annotate=annotate, release=release, run=opened, places=places)
