"""Targets, and what really happens to a file there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from edgekd import registry
from edgekd.inspection import inspect
from edgekd.records import Finding, Target

MICRO = Target(name="chip", description="", runtimes=("tflite_micro",))
NPU = Target(name="npu", description="", runtimes=("tflite_micro",), accelerator="ethos-u55-128")
PHONE = Target(name="phone", description="", transport="adb", runtimes=("benchmark_model",))
HOST = Target(name="host", description="", runtimes=("onnxruntime", "litert"))
# Inputs of 1: nothing is divided by 0, and nothing is out of a function's domain.
_RUN_IN_MICRO = """
import pathlib, sys
import numpy as np
from tflite_micro.python.tflite_micro import runtime
content = pathlib.Path(sys.argv[1]).read_bytes()
interpreter = runtime.Interpreter.from_bytes(content, arena_size=4_000_000)
for index in range(len(runtime.convert_bytearray_to_object(content).subgraphs[0].inputs)):
    details = interpreter.get_input_details(index)
    interpreter.set_input(np.ones(details["shape"], details["dtype"]), index)
interpreter.invoke()
"""


def find(rule: str, path: Path, target: Target) -> list[Finding]:
    """What one rule finds in a file."""
    return list(registry.function("lints", rule)(graph=inspect(path), target=target))


def refusal(path: Path) -> str | None:
    """What TFLite Micro says when it can't run a file; `None` when it can."""
    pytest.importorskip("tflite_micro")
    command = [sys.executable, "-c", _RUN_IN_MICRO, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stderr or f"exit code {done.returncode}" if done.returncode else None


def vela(path: Path, out: Path, accelerator: str = "ethos-u55-128") -> int:
    """How many operators Vela leaves on the CPU."""
    found = re.search(r"^CPU operators = (\d+)", vela_says(path, out, accelerator), re.MULTILINE)
    assert found
    return int(found[1])


def vela_says(path: Path, out: Path, accelerator: str) -> str:
    """What Vela prints."""
    pytest.importorskip("ethosu.vela", reason="install ethos-u-vela, which the extra npu brings")
    command = [sys.executable, "-m", "ethosu.vela", str(path), "--accelerator-config", accelerator]
    command += ["--output-dir", str(out)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
