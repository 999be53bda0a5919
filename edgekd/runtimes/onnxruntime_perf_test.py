"""ONNX Runtime's own onnxruntime_perf_test, for phones and boards without Python; reads ONNX.

It writes every inference into a file: these are the raw samples. It gives no outputs, so that nothing is said of
accuracy, and of memory only how large the whole process became, which is not what the file adds. Nobody publishes it:
it is built with ONNX Runtime, and brought by the user.
"""

from __future__ import annotations

import math
import re
import signal
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekd.errors import ConfigError, TargetError
from edgekd.records import Target
from edgekd.runtimes._machine import DESCRIBE, STATE, ask, choose_cores, describe, mask_of, read_sections, read_state
from edgekd.runtimes._perf_test_log import Log, read_flags, read_log, read_times
from edgekd.runtimes._program import BESIDE, Found, Kind, choose, find, put

if TYPE_CHECKING:
    from edgekd.transports import Transport

__all__ = ["FORMATS", "GIVES_OUTPUTS", "REQUIRES", "prepare", "run", "set_up"]

FORMATS: tuple[str, ...] = ("onnx",)
REQUIRES = ""  # no Python package, here or there
GIVES_OUTPUTS = False

_KIND = Kind(
    name="onnxruntime_perf_test",
    answer="model_path [result_file]",
    libraries="libonnxruntime*.so*",
    published=False,
)
# Random inputs from a seed, so many inferences, threads, and no spinning: as the runner has it.
_NEEDED = {"I", "S", "m", "r", "x", "D"}
# What a process may take besides its time limit.
_PATIENCE_S = 300.0
# Of the first process, which finds out how fast the file is, and of those that only load it.
_FEW = 3
_WARMUP_S, _WARMUP_RUNS, _WARMUP_KEPT = 0.3, (3, 10_000), 200
_MODES = ("latency", "load", "memory")
_LOOK = f"""{DESCRIBE}
{STATE}
s model sha256sum "$1"
s size wc -c "$1"
s scratch pwd
"""
_RUN = rf"""
mask=$1 clock=$2; shift 2; p=$1
rm -f result.csv
{BESIDE}
[ -z "$mask" ] || taskset "$mask" true 2>/dev/null || mask=
if [ -n "$mask" ]; then taskset "$mask" "$@"; else "$@"; fi 2>&1
printf '\n@ended %s %s\n@mask %s\n' $? "$(cat "$clock" 2>/dev/null)" "$mask"
"""
_FILES = "s files sh -c 'ls result.csv'"


@dataclass(frozen=True, kw_only=True)
class _Ran:
    """One process.

    Attributes:
        cores: That it was bound to, if any.
        clock_hz: Of the first of these cores, just after it.
        times: Of its inferences, in ns.
        after: Answer to `STATE`.
    """

    said: str
    log: Log
    code: int
    cores: tuple[int, ...]
    clock_hz: list[int]
    times: Sequence[int]
    after: str


def prepare(
    *, model: Path, target: Target, threads: int, mode: str, runs: int, time_limit_s: float
) -> dict[str, object]:
    """Say what `run` has to do with an ONNX file.

    Args:
        model: The file; the stage says where it lies on the target.
        target: Where it runs; says which program, if not the one that `edgekd targets setup` puts there.
        threads: For one inference.
        mode: `latency`, `load`, `memory`, `environment` or `state`; the program can't do more.
        runs: Timed inferences, at most.
        time_limit_s: For them, in seconds.

    Returns:
        A job, without paths.

    >>> phone = Target(name="phone", description="", runtimes=("onnxruntime_perf_test",), transport="adb")
    >>> prepare(model=Path("m.onnx"), target=phone, threads=4, mode="load", runs=1, time_limit_s=1)["engine"]
    'onnxruntime_perf_test'
    """
    del model
    return {
        "engine": "onnxruntime_perf_test",
        "mode": mode,
        "threads": threads,
        "runs": runs,
        "time_limit_s": time_limit_s,
        "target": target,
    }


def set_up(transport: Transport, *, target: Target, source: Path | None, keep: Path | None) -> None:
    """Put a program of the user's on a target, with the libonnxruntime that lies beside it.

    Args:
        transport: A connection to it.
        target: Says where, if it shall not be the usual place, and which one, by its sha256.
        source: A folder with the program, and with `libonnxruntime*.so*` where it was built as a shared library.
        keep: Ignored: nothing is downloaded.

    Raises:
        ConfigError: No folder was given.
        TargetError: It is not in there, is another one than the target pins, or does not run on the target.
    """
    del keep
    if source is None:
        raise ConfigError(
            "nobody publishes an onnxruntime_perf_test: build ONNX Runtime, which makes it, for this target",
            where=target.name,
            next_step=f"edgekd targets setup {target.name} --from FOLDER, with the program and its libonnxruntime.so",
        )
    local = choose(source, target, _KIND)
    libraries = sorted(source.glob(_KIND.libraries))
    put(transport, target, _KIND, local, libraries=libraries, probe=lambda path: _find(transport, target, path))


def run(transport: Transport, *, job: Mapping[str, Any], model: Path) -> list[dict[str, Any]]:
    """Do a job on a target, in place of the runner.

    Args:
        transport: A connection to it.
        job: Of `prepare`, with the file's path there (`model`).
        model: The same file here; not looked at.

    Returns:
        Events as the runner prints them. There is no memory among them, and a first inference only where it took a
        tenth of a second, since the program tells it in whole milliseconds.

    Raises:
        TargetError: The program is not there, is another one, lacks a flag, or the target can't be reached.
    """
    del model
    target: Target = job["target"]
    if job["mode"] == "state":
        return [
            {"event": "conditions", "when": "now", **read_state(ask(transport, target.name, STATE)).facts(())},
            {"event": "done"},
        ]
    program = _find(transport, target)
    looked = ask(transport, target.name, _LOOK, str(job.get("model", "")))
    before = read_state(looked)
    cores = choose_cores(before.highest_khz, job["threads"])
    if job["mode"] == "environment":
        return [_environment(job, program, looked, cores), {"event": "done"}]
    if job["mode"] not in _MODES:
        message = f"onnxruntime_perf_test can't be run for {job['mode']}"
        return [_environment(job, program, looked, cores), {"event": "error", "kind": "not_told", "message": message}]
    said = read_sections(looked)
    if not said["model"]:
        raise TargetError("the file is gone there, or there is no sha256sum", where=target.name)
    first = _start(transport, job, program, cores, said["scratch"], _FEW)
    events: list[dict[str, Any]] = [
        _environment(job, program, looked, first.cores),
        {"event": "model", "sha256": said["model"].split()[0], "size_bytes": int(said["size"].split()[0])},
        {"event": "conditions", "when": "before", **before.facts(first.cores)},
    ]
    if first.code:
        return [*events, _rejection(first, target)]
    events.append({"event": "load", "ns": first.log.load_ns, "delegate": "CPUExecutionProvider, spinning off"})
    if first.log.first_ns:
        events.append({"event": "first_inference", "ns": first.log.first_ns})
    last = first
    if job["mode"] == "latency":
        warmup, count = _plan(min(first.times) / 1e9, job["runs"], job["time_limit_s"])
        last = _start(transport, job, program, cores, said["scratch"], warmup + count)
        if last.code:
            return [*events, _rejection(last, target)]
        events += [
            {"event": "warmup", "count": warmup, "ns": last.times[: min(warmup, _WARMUP_KEPT)]},
            {"event": "samples", "ns": last.times[warmup:], "frequencies_hz": last.clock_hz},
        ]
    return [
        *events,
        {"event": "conditions", "when": "after", **read_state(last.after).facts(last.cores)},
        {"event": "done"},
    ]


def _find(transport: Transport, target: Target, path: str | None = None) -> Found:
    found = find(transport, target, _KIND, path)
    if unknown := sorted(_NEEDED - read_flags(found.usage)):
        flags = " ".join(f"-{name}" for name in unknown)
        # Abseil leaves all flags out of programs for phones unless it is told otherwise: microsoft/onnxruntime#25849.
        step = f"edgekd targets setup {target.name} --from FOLDER brings a newer one"
        raise TargetError(f"{found.path} does not know {flags}", where=target.name, next_step=step)
    return found


def _environment(job: Mapping[str, Any], program: Found, looked: str, cores: tuple[int, ...]) -> dict[str, Any]:
    libraries = (f"{name} {sha256[:12]}" for name, sha256 in sorted(program.libraries.items()))
    return {
        "event": "environment",
        "runtime": "onnxruntime_perf_test",
        "runtime_version": ", ".join((f"sha256 {program.sha256[:12]}", *libraries)),  # it tells no other
        "threads": job["threads"],
        "cores": ", ".join(map(str, cores)) or None,
        **describe(looked),
    }


def _plan(fastest_s: float, runs: int, time_limit_s: float) -> tuple[int, int]:
    """How many inferences warm up, and how many are timed."""
    fastest_s = max(fastest_s, 1e-9)
    least, most = _WARMUP_RUNS
    warmup = min(max(math.ceil(min(_WARMUP_S, time_limit_s) / fastest_s), least), most)
    return warmup, min(runs, max(math.floor(time_limit_s / fastest_s), 1))


def _start(
    transport: Transport, job: Mapping[str, Any], program: Found, cores: tuple[int, ...], scratch: str, count: int
) -> _Ran:
    """Run the program once, and fetch what it wrote.

    Raises:
        TargetError: It says that it went well, and wrote something else than so many inferences.
    """
    name = job["target"].name
    clock = f"/sys/devices/system/cpu/cpu{cores[0]}/cpufreq/scaling_cur_freq" if cores else ""
    flags = ["-I", "-S", "0", "-D", "-x", str(job["threads"]), "-m", "times", "-r", str(count)]
    words = [mask_of(cores) if cores else "", clock, program.path, *flags, job["model"], "result.csv"]
    patience_s = _PATIENCE_S + 3 * job["time_limit_s"]
    answer = ask(transport, name, f"{_RUN}\n{STATE}\n{_FILES}", *words, patience_s=patience_s)
    said, code, khz, mask, after = re.split(r"^@ended (\d+) ?(\d*)\n@mask (\w*)$", answer, flags=re.MULTILINE)
    log, times = read_log(said), list[int]()
    if code == "0":
        try:
            times = read_times(_fetch(transport, f"{scratch}/result.csv")) if read_sections(after)["files"] else []
        except ValueError as error:
            raise TargetError(f"onnxruntime_perf_test there wrote a broken file: {error}", where=name) from None
        if len(times) != count or log.load_ns is None:
            raise TargetError("onnxruntime_perf_test there writes no times that edgekd can read", where=name)
    return _Ran(
        said=said,
        log=log,
        code=int(code),
        cores=cores if mask else (),
        clock_hz=[1000 * int(khz)] if khz else [],
        times=times,
        after=after,
    )


def _fetch(transport: Transport, remote: str) -> str:
    with tempfile.TemporaryDirectory(prefix="edgekd-") as folder:
        local = Path(folder) / "fetched"
        transport.pull(remote, local)
        return local.read_text(encoding="utf-8")


def _rejection(ran: _Ran, target: Target) -> dict[str, Any]:
    """The event of a process that failed.

    Raises:
        TargetError: It did not start, or did not take its flags: that is no fault of the file.
    """
    flags = re.search(r"Unknown command line flag.*|invalid option.*", ran.said)
    if ran.code in (126, 127) or flags or _KIND.answer in ran.said:
        last = flags[0] if flags else ran.log.complaint or f"exit code {ran.code}"
        raise TargetError(f"onnxruntime_perf_test could not be started: {last}", where=target.name)
    signals = {128 + each: f"it ended by {each.name}" for each in signal.Signals}
    how = signals.get(ran.code) or ran.log.complaint or f"exit code {ran.code}"
    return {"event": "error", "kind": "model_rejected", "message": f"onnxruntime_perf_test: {how}"}
