"""Every runtime plug-in gives jobs that the runner takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgekd import registry, runner
from edgekd.records import Target

NAMES = registry.names("runtimes")
# Others have a function `run` of their own.
OF_THE_RUNNER = [name for name in NAMES if not hasattr(registry.load("runtimes", name), "run")]
TARGET = Target(name="t", description="", runtimes=NAMES, threads=2, ram_bytes=1000)


def test_the_three_are_found() -> None:
    assert {"litert", "onnxruntime", "tflite_micro"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_summary_formats_and_requirement(name: str) -> None:
    plug_in, module = registry.describe("runtimes", name), registry.load("runtimes", name)
    assert "reads" in plug_in.summary
    assert set(module.FORMATS) <= {"onnx", "tflite"}
    assert module.FORMATS
    if name in OF_THE_RUNNER:
        assert module.REQUIRES == runner.ENGINES[name].MODULE


@pytest.mark.parametrize("mode", ["latency", "load", "memory", "accuracy", "environment"])
@pytest.mark.parametrize("name", OF_THE_RUNNER)
def test_job(name: str, mode: str) -> None:
    prepare = registry.function("runtimes", name)
    job = prepare(model=Path("m"), target=TARGET, threads=2, mode=mode, runs=7, time_limit_s=1.5)
    assert job["engine"] in runner.ENGINES
    assert (job["mode"], job["runs"], job["time_limit_s"]) == (mode, 7, 1.5)


def test_a_microcontroller_has_one_thread_and_its_own_ram() -> None:
    prepare = registry.function("runtimes", "tflite_micro")
    job = prepare(model=Path("m"), target=TARGET, threads=2, mode="latency", runs=1, time_limit_s=1.0)
    assert (job["threads"], job["ram_bytes"]) == (1, 1000)
