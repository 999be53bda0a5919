"""TFLite Micro's reference kernels, as on a microcontroller; reads TFLite."""

from __future__ import annotations

from pathlib import Path

from edgekd.records import Target

FORMATS: tuple[str, ...] = ("tflite",)
REQUIRES = "tflite_micro"


def prepare(
    *, model: Path, target: Target, threads: int, mode: str, runs: int, time_limit_s: float
) -> dict[str, object]:
    """Say what the runner has to do with a TFLite file on a microcontroller.

    Args:
        model: The file; the stage says where it lies on the target.
        target: Its RAM bounds the arena.
        threads: Ignored: there is one.
        mode: `latency`, `load`, `memory` or `accuracy`.
        runs: Timed inferences, at most.
        time_limit_s: For the timed inferences, in seconds.

    Returns:
        The runner's job, without paths.

    >>> mcu = Target(name="mcu", description="", runtimes=("tflite_micro",), ram_bytes=640_000)
    >>> prepare(model=Path("m.tflite"), target=mcu, threads=4, mode="load", runs=1, time_limit_s=1)["ram_bytes"]
    640000
    """
    del model, threads
    return {
        "engine": "tflite_micro",
        "mode": mode,
        "threads": 1,
        "runs": runs,
        "time_limit_s": time_limit_s,
        "ram_bytes": target.ram_bytes,
    }
