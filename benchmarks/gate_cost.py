"""What `edgekd gate` and `edgekd report` cost on a large run: time, memory and size of the page.

The run has 20 files on 5 targets, each with 10,000 latencies and 10,000 answers, and 100 budgets (see `big_run`). Each
command runs as people run it, in a process of its own, from bytecode, which Python keeps unless the environment forbids
it; the first one, which finds no file in the page cache, counts too.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from big_run import many_budgets
from results_file import Results

from edgekd import store
from edgekd.records import Budget

WORK = Path("runs") / "benchmarks" / "gate-cost"
EDGEKD = [sys.executable, "-m", "edgekd"]
# The gate also of the same 20 files on one target, with as many budgets.
REPETITIONS = {"gate": 15, "gate_one_target": 15, "report": 7}
_MB = 1e6
_KEPT = (b'"target":"host"', b'"target":"file"')


def main() -> None:
    """Make the run once, and time both commands."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="twice each")
    quick = parser.parse_args().quick
    results = Results("gate_cost", quick=quick, fresh=quick)
    big = make_run(WORK)
    small = one_target_of(big)
    for command, count in REPETITIONS.items():
        done = sum(run["command"] == command for run in results.runs)
        for _ in range(done, 2 if quick else count):
            results.add(
                command=command,
                load=os.getloadavg()[0],
                **measure(command, small if command == "gate_one_target" else big),
            )
            print(results.runs[-1], flush=True)
    claim(results, big)


def make_run(folder: Path) -> Path:
    """Run `digits`, measure its files long and operator by operator, and spread that over more files and targets."""
    digits, bench, big = folder / "digits", folder / "bench", folder / "big"
    if (big / "budgets.toml").exists():
        return big
    subprocess.run([*EDGEKD, "run", "digits", "--out", digits], check=True, stdout=subprocess.DEVNULL)
    files = sorted(each for each in (digits / "export").iterdir() if each.suffix in (".onnx", ".tflite"))
    options = ["--sustained", "20s", "--profile", "--out", str(bench)]
    subprocess.run([*EDGEKD, "bench", *files, *options], check=True, stdout=subprocess.DEVNULL)
    # In a process of its own: the peak memory that Linux tells of a child begins with that of its parent.
    subprocess.run([sys.executable, Path(__file__).with_name("big_run.py"), digits, bench, big], check=True)
    write_budgets(big, many_budgets())
    return big


def one_target_of(big: Path) -> Path:
    """The same files and as many budgets, on the host alone."""
    small = big.with_name("small")
    shutil.rmtree(small, ignore_errors=True)
    shutil.copytree(big, small, ignore=shutil.ignore_patterns("report"))
    file = small / "benchmark" / "measurements.json"
    # Line by line: the peak memory that Linux tells of a child begins with that of its parent.
    with (big / "benchmark" / "measurements.json").open("rb") as lines:
        kept = [each.rstrip(b",\n") for each in lines if any(target in each[:4096] for target in _KEPT)]
    file.write_bytes(b"[\n" + b",\n".join(kept) + b"\n]\n")
    store.RunFolder(small).finish("benchmark", "", [file])
    write_budgets(small, (replace(each, target=each.target and "host") for each in many_budgets()))
    return small


def write_budgets(folder: Path, budgets: Iterable[Budget]) -> None:
    """Write a file of budgets into a run folder."""
    tables = [
        "[[budgets]]\n" + "".join(f'{key} = "{value}"\n' for key, value in vars(budget).items() if value is not None)
        for budget in budgets
    ]
    (folder / "budgets.toml").write_text("\n".join(tables))


def measure(command: str, big: Path) -> dict[str, Any]:
    """Run a command on the run: seconds on the clock and of the processor, and the most memory that it had."""
    gate = ["gate", str(big), "--budgets", str(big / "budgets.toml")]
    given = ["report", str(big)] if command == "report" else gate
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    started = time.perf_counter()
    process = subprocess.Popen([*EDGEKD, *given], stdout=subprocess.DEVNULL, env=environment)
    _, status, used = os.wait4(process.pid, 0)
    wall_s = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    expected = 0 if command == "report" else 1  # some of the budgets don't hold
    if process.returncode != expected:
        raise SystemExit(f"{command} ended with {process.returncode}")
    return {"wall_s": wall_s, "cpu_s": used.ru_utime + used.ru_stime, "peak_bytes": 1024 * used.ru_maxrss}


def claim(results: Results, big: Path) -> None:
    """Hold medians against the bounds, and say what was least and most."""
    for command, limit_s in (("gate", 1.0), ("gate_one_target", 1.0), ("report", 5.0)):
        runs = [run for run in results.runs if run["command"] == command]
        for key, bound in (("wall_s", limit_s), ("cpu_s", None)):
            values = sorted(run[key] for run in runs)
            middle = statistics.median(values)
            results.claim(
                f"{command}_{key}",
                middle,
                f"s, median of {len(values)}",
                low=values[0],
                high=values[-1],
                bound="" if bound is None else f"below {bound:g}",
                holds=None if bound is None else middle < bound,
            )
        peak = max(run["peak_bytes"] for run in runs) / _MB
        results.claim(f"{command}_memory", peak, "MB at most", bound="below 300", holds=peak < 300)
    page = (big / "report" / "report.html").stat().st_size / _MB
    results.claim("page", page, "MB", bound="below 3", holds=page < 3)


if __name__ == "__main__":
    main()
