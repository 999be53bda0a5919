"""ONNX Runtime on the CPU; reads ONNX."""

from __future__ import annotations

from pathlib import Path

from edgekd.records import Target

FORMATS: tuple[str, ...] = ("onnx",)
REQUIRES = "onnxruntime"
FEEDS_CACHE = True


def prepare(
    *, model: Path, target: Target, threads: int, mode: str, runs: int, time_limit_s: float
) -> dict[str, object]:
    """Say what the runner has to do with an ONNX file.

    Args:
        model: The file; the stage says where it lies on the target.
        target: Where it runs.
        threads: For one inference.
        mode: `latency`, `load`, `memory` or `accuracy`.
        runs: Timed inferences, at most.
        time_limit_s: For the timed inferences, in seconds.

    Returns:
        The runner's job, without paths.

    >>> host = Target(name="host", description="", runtimes=("onnxruntime",))
    >>> prepare(model=Path("m.onnx"), target=host, threads=1, mode="load", runs=1, time_limit_s=1)["engine"]
    'onnxruntime'
    """
    del model, target  # the same job for all of them
    return {"engine": "onnxruntime", "mode": mode, "threads": threads, "runs": runs, "time_limit_s": time_limit_s}
