"""What the runtimes share that run TFLite files by an interface of LiteRT or TensorFlow in Python."""

from __future__ import annotations

from edgekd.records import Target


def interpreter_job(
    engine: str, *, target: Target, threads: int, mode: str, runs: int, time_limit_s: float
) -> dict[str, object]:
    """The runner's job for one of its engines that XNNPACK may be taken from; the rest as `prepare` has it."""
    return {
        "engine": engine,
        "mode": mode,
        "threads": threads,
        "runs": runs,
        "time_limit_s": time_limit_s,
        "xnnpack": target.xnnpack,
    }
