"""Vela's estimates for an Ethos-U accelerator; reads TFLite and runs nothing."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgekd import store
from edgekd.errors import ConfigError, ModelError, TargetError
from edgekd.records import NpuSummary, Target
from edgekd.vela import compile_file

FORMATS: tuple[str, ...] = ("tflite",)
REQUIRES = "ethosu"
GIVES_OUTPUTS = False
ESTIMATES = True

# The name of the operator that Vela leaves in a file.
_COMPILED = b"\x07\x00\x00\x00ethos-u\x00"


def prepare(
    *, model: Path, target: Target, threads: int, mode: str, runs: int, time_limit_s: float
) -> dict[str, object]:
    """Say for which accelerator a TFLite file is compiled, and in which configuration.

    Args:
        model: The file.
        target: Has the accelerator; its RAM bounds the SRAM that Vela plans for.
        threads: Ignored, as are the next three: nothing runs.
        mode: `environment` only looks whether Vela is there; all others estimate.
        runs: Timed inferences, at most.
        time_limit_s: For the timed inferences, in seconds.

    Returns:
        What `run` takes.

    Raises:
        ConfigError: The target has no accelerator.

    >>> npu = Target(name="npu", description="", runtimes=("vela",), accelerator="ethos-u55-128")
    >>> prepare(model=Path("m.tflite"), target=npu, threads=1, mode="latency", runs=1, time_limit_s=1)["accelerator"]
    'ethos-u55-128'
    """
    del model, threads, runs, time_limit_s
    if target.accelerator is None:
        raise ConfigError(
            "the runtime 'vela' needs an accelerator", where=target.name, next_step='set accelerator = "ethos-u55-128"'
        )
    return {
        "engine": "vela",
        "mode": mode,
        "accelerator": target.accelerator,
        "system_config": target.system_config,
        "memory_mode": target.memory_mode,
        "config": target.vela_config,
        "ram_bytes": target.ram_bytes,
        "target": target.name,
    }


def run(transport: object, *, job: Mapping[str, Any], model: Path) -> list[dict[str, Any]]:
    """Estimate a file on this machine, wherever the target is: Vela is a compiler.

    Its times and memories are those of what runs on the accelerator alone. Of a file of which it leaves something to
    the processor they say too little, so that only the share of operators is given.

    Args:
        transport: Ignored.
        job: As `prepare` gives it.
        model: The file on this machine.

    Returns:
        Events, as the runner prints them; each estimate is one.

    Raises:
        TargetError: Vela does not know the target's accelerator or its configuration.
    """
    del transport
    if importlib.util.find_spec(REQUIRES) is None:
        return [{"event": "error", "kind": "runtime_missing", "message": f"No module named '{REQUIRES}'"}]
    version = store.tool_versions("ethos-u-vela")["ethos-u-vela"]
    # An estimate is the same wherever it was made.
    nowhere = dict.fromkeys(("host", "cpu", "arch", "os"), "")
    events: list[dict[str, Any]] = [
        {"event": "environment", "runtime": "vela", "runtime_version": version, "threads": 1, **nowhere}
    ]
    if job["mode"] == "environment":
        return [*events, {"event": "done"}]
    content = model.read_bytes()
    events.append({"event": "model", "sha256": hashlib.sha256(content).hexdigest()})
    if _COMPILED in content:
        message = "Vela has compiled it already; give the file that it was made of"
        return [*events, {"event": "error", "kind": "model_rejected", "message": message}]
    try:
        _, summary = compile_file(
            model,
            accelerator=job["accelerator"],
            system_config=job["system_config"],
            memory_mode=job["memory_mode"],
            config=Path(job["config"]) if job["config"] else None,
        )
    except ConfigError as error:  # of the target's file; other targets go on
        raise TargetError(error.what, where=job["target"], next_step="change the target's file") from None
    except ModelError as error:
        return [*events, {"event": "error", "kind": "model_rejected", "message": error.what}]
    return [*events, *_events_of(summary, job["ram_bytes"])]


def _events_of(summary: NpuSummary, ram_bytes: int | None) -> list[dict[str, Any]]:
    operators = summary.npu_operators + summary.cpu_operators
    if not operators:
        return [{"event": "error", "kind": "model_rejected", "message": "Vela finds no operators in it"}]
    configuration = f"{summary.accelerator}, {summary.system_config}, {summary.memory_mode}"
    events: list[dict[str, Any]] = [
        {"event": "load", "delegate": configuration},
        _estimate("npu_share", summary.npu_operators / operators),
    ]
    if summary.cpu_operators:
        left = f"{summary.cpu_operators} of its {operators} operators do not run on {summary.accelerator}"
        message = f"{left}: Vela's time and memory would be without them and are not taken; 'edgekd lint' says why"
        return [*events, {"event": "warning", "message": message}, {"event": "done"}]
    if ram_bytes is not None and summary.sram_bytes > ram_bytes:
        needed_bytes = round(summary.sram_bytes)
        message = f"it needs {needed_bytes} bytes of SRAM; the target has {ram_bytes}"
        too_small = {"event": "error", "kind": "ram_too_small", "message": message}
        return [*events, {**too_small, "metric": "sram_size", "needed_bytes": needed_bytes}]
    memories = {
        "sram_size": summary.sram_bytes,
        "dram_size": summary.dram_bytes,
        "flash_size": summary.on_chip_flash_bytes + summary.off_chip_flash_bytes,
    }
    events.append(_estimate("latency", summary.inference_s))
    events += [_estimate(metric, size_bytes) for metric, size_bytes in memories.items() if size_bytes]
    return [*events, {"event": "done"}]


def _estimate(metric: str, value: float) -> dict[str, Any]:
    """An estimate in the metric's base unit."""
    return {"event": "estimate", "metric": metric, "value": value}
