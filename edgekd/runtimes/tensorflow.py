"""TensorFlow's own build of the TFLite interpreter on the CPU, a second opinion beside litert; reads TFLite."""

from __future__ import annotations

from pathlib import Path

from edgekd.records import Target
from edgekd.runtimes._interpreter import interpreter_job

FORMATS: tuple[str, ...] = ("tflite",)
REQUIRES = "tensorflow"
FEEDS_CACHE = True


def prepare(
    *, model: Path, target: Target, threads: int, mode: str, runs: int, time_limit_s: float
) -> dict[str, object]:
    """Say what the runner has to do with a TFLite file.

    Args:
        model: The file; the stage says where it lies on the target.
        target: Where it runs; its `xnnpack = false` leaves all operators to the plain kernels.
        threads: For one inference.
        mode: `latency`, `load`, `memory` or `accuracy`.
        runs: Timed inferences, at most.
        time_limit_s: For the timed inferences, in seconds.

    Returns:
        The runner's job, without paths.

    >>> host = Target(name="host", description="", runtimes=("tensorflow",))
    >>> prepare(model=Path("m.tflite"), target=host, threads=1, mode="load", runs=1, time_limit_s=1)["engine"]
    'tensorflow'
    """
    del model
    return interpreter_job(
        "tensorflow", target=target, threads=threads, mode=mode, runs=runs, time_limit_s=time_limit_s
    )
