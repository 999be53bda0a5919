"""The subcommand that holds one model file's latency against another's."""

from __future__ import annotations

from pathlib import Path

import click

from edgekd.cli.group import EXIT_OF, command, json_option

_MODEL = click.Path(path_type=Path)


@command("""
    edgekd compare released.tflite candidate.tflite
    edgekd compare a.onnx b.onnx --target raspberry-pi-5 --threshold "5 %"
    edgekd compare a.tflite b.onnx --time-limit 15 --json
""")
@click.argument("first", metavar="A", type=_MODEL)
@click.argument("second", metavar="B", type=_MODEL)
@click.option("--target", default="host", show_default=True, help="Where, by name or .toml file.")
@click.option("--threshold", default="1 %", show_default=True, help="Differences up to it don't count.")
@click.option(
    "--time-limit", type=click.FloatRange(0, min_open=True), default=60.0, show_default=True, help="Seconds, at most."
)
@click.option("--threads", type=click.IntRange(1), help="Threads [default: the target's own].")
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), help="Keep comparison.json and all raw times there."
)
@json_option
def compare(
    first: Path,
    second: Path,
    target: str,
    threshold: str,
    time_limit: float,
    threads: int | None,
    out: Path | None,
    as_json: bool,
) -> int:
    """Say whether model file B is slower than A; exit 1 if by more than the threshold, 4 if that is not clear.

    The two run in turns, in process after process, until the interval of the ratio of their latencies is clear of the
    threshold or time is up.
    """
    from edgekd import store
    from edgekd.config import load_target
    from edgekd.console import Terminal
    from edgekd.stages.benchmark import compare as measure
    from edgekd.stages.benchmark import describe_file, explain
    from edgekd.units import human, parse_share

    terminal = Terminal(as_json=as_json)
    share, place = parse_share(threshold, "--threshold"), load_target(target)
    models = [describe_file(path) for path in (first, second)]
    with terminal.progress() as progress:
        found = measure(
            *models,
            target=place,
            threshold=share,
            time_limit_s=time_limit,
            threads=threads,
            folder=out,
            progress=progress,
        )
    if out:
        store.write_json(out / "comparison.json", found)
    reason = explain(found)
    for name, seconds in zip((found.first, found.second), found.latencies_s, strict=True):
        terminal.say(f"{human(seconds, 's'):>9}  {name}")
    terminal.say(reason)
    terminal.say(f"{found.basis} on {found.target}; processes: {len(found.processes)}, in {found.wall_s:.0f} s")
    terminal.result({"status": found.status, "reason": reason, **store.to_json(found)})
    return EXIT_OF[found.status]
