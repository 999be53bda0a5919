"""The subcommand that writes what a run knows, or how two runs differ."""

from __future__ import annotations

from pathlib import Path

import click

from edgekd.cli.group import command, json_option


@command("""
    edgekd report runs/digits
    edgekd report runs/digits --json
    edgekd report runs/digits --markdown notes.md
    edgekd report --compare runs/released runs/digits
    edgekd report --compare runs/released runs/digits --out site/
""")
@click.argument("folders", metavar="RUN...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--markdown", type=click.Path(path_type=Path, dir_okay=False), help="Also write it as Markdown, in 64 KiB."
)
@click.option("--compare", is_flag=True, help="Hold the second of two runs, or benchmarks, against the first.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="With --compare: where its page goes [default: comparison/ of the second run].",
)
@json_option
def report(folders: tuple[Path, ...], markdown: Path | None, compare: bool, out: Path | None, as_json: bool) -> int:
    """Write report.html and report.json of a run, finished or not; or hold two runs against each other."""
    if len(folders) != 1 + compare:
        wanted = "--compare takes two runs" if compare else "a report is of one run; --compare takes two"
        raise click.UsageError(f"{wanted}, and {len(folders)} came")
    if compare and markdown:
        raise click.UsageError("--markdown is of one run, and --compare of two")
    if out and not compare:
        raise click.UsageError("--out is for --compare; the report of a run is in its folder")
    if compare:
        return _compare(folders[0], folders[1], out, as_json=as_json)
    return _write(folders[0], markdown, as_json=as_json)


def _write(folder: Path, markdown: Path | None, *, as_json: bool) -> int:
    from edgekd import pipeline, store
    from edgekd.console import Terminal, comparison_table

    terminal = Terminal(as_json=as_json)
    opened = pipeline.open_run(folder)
    written = pipeline.rewrite_report(folder, opened)
    if markdown:
        store.write_bytes(markdown, pipeline.markdown_report(opened).encode())
    terminal.print(comparison_table(opened), "")
    terminal.say(f"report: {written.html_path}")
    if markdown:
        terminal.say(f"markdown: {markdown}")
    terminal.result({**store.to_json(written), "markdown_path": markdown} if markdown else written)
    return 0


def _compare(before: Path, after: Path, out: Path | None, *, as_json: bool) -> int:
    from edgekd import pipeline
    from edgekd.console import Terminal, differences_table

    terminal = Terminal(as_json=as_json)
    compared = pipeline.compare_runs(before, after, folder=out)
    if table := differences_table(compared.differences):
        terminal.print(table, "")
    terminal.say(compared.answer)
    terminal.say(f"comparison: {compared.html_path}")
    terminal.result(compared)
    return 0
