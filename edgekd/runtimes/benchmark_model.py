"""TensorFlow Lite's and LiteRT's own benchmark_model, for phones and boards without Python; reads TFLite.

It prints a summary of its inferences. One of two inferences leaves nothing out, so it is started again and again for
two of them each, and these are the raw samples. TensorFlow's also takes a sample and writes what comes out, so that a
process for each sample gives the accuracy.
"""

from __future__ import annotations

import math
import re
import signal
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgekd import store
from edgekd.errors import DataError, MeasurementError, TargetError
from edgekd.records import Target
from edgekd.runtimes._benchmark_energy import GAUGE, PARTS, SCRIPT, find_source, read_energy
from edgekd.runtimes._benchmark_log import ROUNDED, Log, read_delegate, read_log
from edgekd.runtimes._benchmark_operators import join_operators, read_operators
from edgekd.runtimes._benchmark_program import (
    ANSWER,
    NEXT_STEP,
    OPERATORS,
    RESULT,
    RUNTIME_INFO,
    Program,
    find_program,
    set_up,
)
from edgekd.runtimes._benchmark_samples import run_samples, takes_samples
from edgekd.runtimes._machine import (
    DESCRIBE,
    STATE,
    ask,
    choose_cores,
    describe,
    mask_of,
    read_sections,
    read_state,
)

if TYPE_CHECKING:
    from edgekd.transports import Transport

__all__ = ["FORMATS", "REQUIRES", "prepare", "run", "set_up"]

FORMATS: tuple[str, ...] = ("tflite",)
REQUIRES = ""  # no Python package, here or there

# What a series of processes may take besides its time limit, which the last of them may have just met.
_PATIENCE_S = 300.0
_RUNS: Mapping[str, Mapping[str, float]] = {
    # Between two processes the clock falls; a tenth of a second brings it up again.
    "latency": {"warmup_runs": 3, "warmup_min_secs": 0.1, "num_runs": 2, "max_secs": 10},
    "load": {"warmup_runs": 1, "warmup_min_secs": 0, "num_runs": 1, "max_secs": 10},
    "memory": {"warmup_runs": 1, "warmup_min_secs": 0, "num_runs": 20, "max_secs": 10},
    # What is told of operators are means: of one inference they leave nothing out.
    "profile": {"warmup_runs": 3, "warmup_min_secs": 0.1, "num_runs": 1, "max_secs": 10},
}
_SAMPLES_A_PROCESS, _PROFILED = 2, 30
# Long enough that loading and warm-up are a small part of it, and that a slow gauge moves.
_ENERGY_PROCESS_S = 5.0
# Values rounded to more than this share of themselves are no measurement.
_COARSEST = 0.01
_LOOK = f"""{DESCRIBE}
{STATE}
s model sha256sum "$1"
s size wc -c "$1"
s scratch pwd
{GAUGE}
"""
# A process after the other, without the line in between: what it does costs time on the processor over there.
_REPEAT = r"""
limit_s=$1 count=$2 mask=$3 clock=$4 operators=$5; shift 5
rm -f *.pb "$operators"
[ -z "$mask" ] || taskset "$mask" true 2>/dev/null || mask=
printf '@pinned %s\n' "$mask"
n=0 end=$(($(date +%s) + limit_s))
while [ $n -lt $count ]; do
  if [ -n "$mask" ]; then taskset "$mask" "$@"; else "$@"; fi 2>&1
  code=$?
  [ ! -f "$operators" ] || { cat "$operators"; rm "$operators"; }
  printf '\n@ended %s %s\n' $code "$(cat "$clock" 2>/dev/null)"
  n=$((n + 1))
  [ $code -eq 0 ] && [ $(date +%s) -lt $end ] || break
done
"""
_FILES = "s files sh -c 'ls *.pb'"


@dataclass(frozen=True, kw_only=True)
class _Ran:
    """What a series of processes printed.

    Attributes:
        cores: That they were bound to, if any.
        code: Of the last one.
        clock_hz: Of the first of these cores, just after each process.
        after: Answers to `STATE` and `_FILES`.
    """

    logs: Sequence[str]
    code: int
    cores: tuple[int, ...]
    clock_hz: list[int]
    after: str


def prepare(
    *, model: Path, target: Target, threads: int, mode: str, runs: int, time_limit_s: float
) -> dict[str, object]:
    """Say what `run` has to do with a TFLite file.

    Args:
        model: The file; the stage says where it lies on the target.
        target: Where it runs; says which program, if not the one that `edgekd targets setup` puts there.
        threads: For one inference.
        mode: `latency`, `load`, `memory`, `accuracy`, `profile`, `energy`, `environment` or `state`; no more.
        runs: Timed inferences, at most.
        time_limit_s: For the series of processes, in seconds; their warm-up counts.

    Returns:
        A job, without paths.

    >>> phone = Target(name="phone", description="", runtimes=("benchmark_model",), transport="adb")
    >>> prepare(model=Path("m.tflite"), target=phone, threads=4, mode="load", runs=1, time_limit_s=1)["engine"]
    'benchmark_model'
    """
    del model
    return {
        "engine": "benchmark_model",
        "mode": mode,
        "threads": threads,
        "runs": runs,
        "time_limit_s": time_limit_s,
        "target": target,
    }


def run(transport: Transport, *, job: Mapping[str, Any], model: Path) -> list[dict[str, Any]]:
    """Do a job on a target, in place of the runner.

    Args:
        transport: A connection to it.
        job: Of `prepare`, with the file's path there (`model`) and that of an .npy of samples here (`inputs`).
        model: The same file here.

    Returns:
        Events as the runner prints them; outputs lie here, beside the inputs. Samples are whole microseconds.
        `conditions` also tell a phone's thermal status and battery.

    Raises:
        TargetError: The program is not there, is another one, does not know a flag, or the target can't be reached.
    """
    target: Target = job["target"]
    if job["mode"] == "state":
        return [
            {"event": "conditions", "when": "now", **read_state(ask(transport, target.name, STATE)).facts(())},
            {"event": "done"},
        ]
    program = find_program(transport, target)
    looked = ask(transport, target.name, _LOOK, str(job.get("model", "")))
    before = read_state(looked)
    cores = choose_cores(before.highest_khz, job["threads"])
    if events := _answer_at_once(job, program):
        return [_environment(job, program, looked, cores), *events]
    said = read_sections(looked)
    if not said["model"]:
        raise TargetError("the file is gone there, or there is no sha256sum", where=target.name)

    def begin(pinned: tuple[int, ...]) -> list[dict[str, Any]]:
        return [
            _environment(job, program, looked, pinned),
            {"event": "model", "sha256": said["model"].split()[0], "size_bytes": int(said["size"].split()[0])},
            {"event": "conditions", "when": "before", **before.facts(pinned)},
        ]

    if job["mode"] == "energy":
        return [*begin(cores), *_measure_energy(transport, job, program, cores), {"event": "done"}]
    if job["mode"] == "accuracy":
        pinned, events = _run_samples(transport, job, program, cores, model)
        return [*begin(pinned), *events]
    ran = _repeat(transport, job, program, cores)
    events = begin(ran.cores)
    files = read_sections(ran.after)["files"].split()
    written = {name: _fetch(transport, f"{said['scratch']}/{name}") for name in files}
    try:
        logs = [*map(read_log, ran.logs[:-1]), read_log(ran.logs[-1], written.get(RESULT))]
        delegate = read_delegate(written[RUNTIME_INFO]) if RUNTIME_INFO in written else logs[0].delegate
    except ValueError as error:
        raise TargetError(f"benchmark_model there wrote a broken file: {error}", where=target.name) from None
    if complaint := _complain(job["mode"], ran, logs, target):
        return [*events, complaint]
    return [
        *events,
        {"event": "load", "ns": logs[0].load_ns, "delegate": delegate},
        {"event": "first_inference", "ns": logs[0].first_ns},
        *_of_mode(job["mode"], ran, logs),
        {"event": "conditions", "when": "after", **read_state(ran.after).facts(ran.cores)},
        {"event": "done"},
    ]


def _answer_at_once(job: Mapping[str, Any], program: Program) -> list[dict[str, Any]]:
    """All events of a job that starts nothing, or that the program can't do; a file without accuracy has its times."""
    mode = job["mode"]
    if mode == "environment":
        return [{"event": "done"}]
    if mode == "accuracy" and job.get("inputs"):
        if takes_samples(program):
            return []
        lacks = "benchmark_model there takes no samples (--input_layer_value_files) or writes no outputs"
        message = f"{lacks} (--output_filepath), as TensorFlow's does and LiteRT's does not; no accuracy"
        return [{"event": "warning", "message": message}, {"event": "done"}]
    if mode == "profile" and not program.profiling_flags:
        tells = "TensorFlow's does (--enable_op_profiling), and litert on host"
        message = f"benchmark_model there does not tell what its operators take; {tells}"
        return [{"event": "error", "kind": "unprofiled", "message": message}]
    if mode in (*_RUNS, "energy"):
        return []
    return [{"event": "error", "kind": "not_told", "message": f"benchmark_model can't be run for {mode}"}]


def _environment(job: Mapping[str, Any], program: Program, looked: str, cores: tuple[int, ...]) -> dict[str, Any]:
    return {
        "event": "environment",
        "runtime": "benchmark_model",
        "runtime_version": f"sha256 {program.sha256[:12]}",  # it has no other
        "threads": job["threads"],
        "cores": ", ".join(map(str, cores)) or None,
        "power_source": find_source(read_sections(looked)["gauge"], read_state(looked).others.get("plugged")),
        **describe(looked),
    }


def _fetch(transport: Transport, remote: str) -> bytes:
    with tempfile.TemporaryDirectory(prefix="edgekd-") as folder:
        local = Path(folder) / "fetched"
        transport.pull(remote, local)
        return local.read_bytes()


def _repeat(transport: Transport, job: Mapping[str, Any], program: Program, cores: tuple[int, ...]) -> _Ran:
    """Start the program until there are samples enough, or the time is over."""
    limit_s, count = math.ceil(job["time_limit_s"]), 1
    if job["mode"] == "latency":
        count = 1 + math.ceil(job["runs"] / _SAMPLES_A_PROCESS)
    if job["mode"] == "profile":
        count = 1 + min(job["runs"], _PROFILED)
    flags = {
        "graph": job["model"],
        "num_threads": job["threads"],
        "min_secs": 0,
        **_RUNS[job["mode"]],
        **program.flags,
        **(program.profiling_flags if job["mode"] == "profile" else {}),
    }
    clock = f"/sys/devices/system/cpu/cpu{cores[0]}/cpufreq/scaling_cur_freq" if cores else ""
    words = [str(limit_s), str(count), mask_of(cores) if cores else "", clock, OPERATORS, program.path]
    words += [f"--{name}={value}" for name, value in flags.items()]
    script = f"{_REPEAT}\n{STATE}\n{_FILES}"
    said = ask(transport, job["target"].name, script, *words, patience_s=_PATIENCE_S + limit_s)
    pinned, *parts = re.split(r"^@ended (\d+) ?(\d*)$", said, flags=re.MULTILINE)
    mask, _, first = pinned.partition("@pinned ")[2].partition("\n")
    return _Ran(
        logs=[first, *parts[2:-1:3]],
        code=int(parts[-3]),
        cores=cores if mask else (),
        clock_hz=[1000 * int(khz) for khz in parts[1::3] if khz],
        after=parts[-1],
    )


def _measure_energy(
    transport: Transport, job: Mapping[str, Any], program: Program, cores: tuple[int, ...]
) -> list[dict[str, Any]]:
    """Run the program some seconds at a time, with the gauge read beside it; nothing where one of both fails."""
    part_s = max(_ENERGY_PROCESS_S, job["time_limit_s"])
    flags = {
        "graph": job["model"],
        "num_threads": job["threads"],
        "warmup_runs": 1,
        "warmup_min_secs": 0,
        "num_runs": 1,
        "min_secs": part_s,
        "max_secs": 2 * part_s,
        **program.flags,
    }
    words = [mask_of(cores) if cores else "", program.path, *(f"--{name}={value}" for name, value in flags.items())]
    patience_s = _PATIENCE_S + PARTS * 2 * part_s
    found = read_energy(ask(transport, job["target"].name, SCRIPT, *words, patience_s=patience_s))
    return [found] if found else []


def _run_samples(
    transport: Transport, job: Mapping[str, Any], program: Program, cores: tuple[int, ...], model: Path
) -> tuple[tuple[int, ...], list[dict[str, Any]]]:
    """Run samples: the cores that they ran on, and events."""
    target: Target = job["target"]
    try:
        ran = run_samples(transport, job=job, program=program, cores=cores, model=model)
    except DataError as error:
        return (), [{"event": "error", "kind": "inputs_unfit", "message": error.what}]
    except MeasurementError as error:
        return (), [{"event": "error", "kind": "outputs_unreadable", "message": error.what}]
    pinned = cores if ran.pinned else ()
    if not len(ran.outputs) and not ran.code:
        last = (ran.log.strip().splitlines() or ["no output"])[-1]
        raise TargetError(f"samples don't come through benchmark_model there: {last}", where=target.name)
    log = read_log(ran.log)
    if log.runs:  # there is no warm-up before it
        log = replace(log, first_ns=log.runs.first)
    series = _Ran(logs=[ran.log], code=ran.code, cores=pinned, clock_hz=[], after=ran.after)
    if complaint := _complain("accuracy", series, [log], target):
        return pinned, [complaint]
    local = Path(job["inputs"]).with_name("outputs.npy")
    np.save(local, ran.outputs)
    return pinned, [
        {"event": "load", "ns": log.load_ns, "delegate": log.delegate},
        {"event": "first_inference", "ns": log.first_ns},
        {"event": "outputs", "path": str(local), "here": True, "sha256": store.sha256_of(local)},
        {"event": "conditions", "when": "after", **read_state(ran.after).facts(pinned)},
        {"event": "done"},
    ]


def _complain(mode: str, ran: _Ran, logs: Sequence[Log], target: Target) -> dict[str, Any] | None:
    """What was wrong, if so: an error event of the file's faults.

    Raises:
        TargetError: It is the program's or the target's.
    """
    last = logs[-1]
    if last.unknown_flags:
        what = f"benchmark_model there does not know {last.unknown_flags}, and measures something else without"
        raise TargetError(what, where=target.name, next_step=NEXT_STEP.format(name=target.name))
    if ran.code and ANSWER not in ran.logs[-1]:
        raise TargetError(f"benchmark_model could not be started: {ran.logs[-1].strip()}", where=target.name)
    if ran.code:
        signals = {128 + each: f"it ended by {each.name}" for each in signal.Signals}
        how = last.complaint or signals.get(ran.code, f"exit code {ran.code}")
        return {"event": "error", "kind": "model_rejected", "message": f"benchmark_model: {how}"}
    for log in logs:
        times = log.runs and (mode != "latency" or log.runs.samples())
        if log.load_ns is None or log.first_ns is None or log.runs is None or not times:
            raise TargetError("benchmark_model there prints no times that edgekd can read", where=target.name)
        if mode != "profile" and log.runs.unit == ROUNDED and log.runs.smallest < ROUNDED / _COARSEST:
            message = "benchmark_model there rounds to 0.01 ms, and the file takes less than 1 ms"
            return {"event": "error", "kind": "too_coarse", "message": message}
    if mode == "profile" and not read_operators(ran.logs[-1]):
        message = "benchmark_model there tells nothing of operators that edgekd can read"
        return {"event": "error", "kind": "unprofiled", "message": message}
    return None


def _of_mode(mode: str, ran: _Ran, logs: Sequence[Log]) -> list[dict[str, Any]]:
    if mode == "memory":
        added = logs[0].added_bytes
        # A process that did not grow had been larger before: a number that says nothing would keep every budget.
        return [{"event": "memory", "added_bytes": added}] if added else []
    if mode == "load":
        return []
    if mode == "profile":
        inferences = [read_operators(log) for log in ran.logs]
        return [{"event": "profile", "operators": join_operators(inferences[1:] or inferences)}]
    samples = [log.runs.samples() if log.runs else [] for log in logs]
    # The first process brings the clock up; where a file is so slow that there is only one, there is no choice.
    warming = 1 if len(samples) > 1 else 0
    return [
        {"event": "warmup", "count": sum(log.warmups for log in logs), "ns": [*chain(*samples[:warming])]},
        {
            "event": "samples",
            "ns": [*chain(*samples[warming:])],
            "processes": len(samples),
            "frequencies_hz": ran.clock_hz,
        },
    ]
