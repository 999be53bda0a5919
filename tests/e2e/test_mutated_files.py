"""Damaged model files: each is measured, or refused in a line; none takes the process down or leaves one behind."""

from __future__ import annotations

import contextlib
import dataclasses
import random
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from edgekd.config import load_target
from edgekd.errors import EdgekdError, ModelError
from edgekd.records import BenchmarkSpec, Model, Target
from edgekd.stages.benchmark import describe_file
from edgekd.stages.benchmark.pairs import pair_of
from edgekd.stages.benchmark.session import Session

FILES = (
    "tflm/hello_world_float.tflite",
    "tflm/hello_world_int8.tflite",
    "tflm/micro_speech_quantized.tflite",
    "ai_edge_quantizer/weight_sharing_fcs.tflite",
    "ai_edge_quantizer/mnist_quantized.tflite",
    "dnsmos/model_v8.onnx",
)
PARTS, OF_EACH = 40, 50  # 2,000
QUICK = BenchmarkSpec(runs=2, time_limit_s=0.02)


def mutate(content: bytes, chance: random.Random) -> bytes:
    """Damage a file as disks, networks and attackers do."""
    damaged = bytearray(content)
    # Tables and graphs are mostly at one end; weights, which may hold anything, in between.
    start = chance.choice([0, 0, len(damaged) * 3 // 4, chance.randrange(len(damaged))])
    stop = min(len(damaged), start + chance.choice([64, 1024, len(damaged)]))
    place = chance.randrange(start, stop)
    kind = chance.choice(["bit", "bytes", "number", "cut", "gap", "repeat", "zeros"])
    length = chance.choice([1, 4, 16, 256])
    if kind == "bit":
        for _ in range(chance.choice([1, 3, 30])):
            damaged[chance.randrange(start, stop)] ^= 1 << chance.randrange(8)
    elif kind == "bytes":
        damaged[place : place + length] = chance.randbytes(length)
    elif kind == "number":
        extreme = chance.choice([b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\0\x80", b"\0\0\0\x40", b"\1\0\0\0"])
        damaged[place // 4 * 4 : place // 4 * 4 + 4] = extreme
    elif kind == "cut":
        del damaged[place:]
    elif kind == "gap":
        del damaged[place : place + length]
    elif kind == "repeat":
        damaged[place:place] = damaged[place : place + length]
    else:
        damaged[place : place + length] = bytes(length)
    return bytes(damaged)


@pytest.fixture(scope="module")
def originals(shared_data: Path) -> Mapping[str, bytes]:
    return {Path(name).name: (shared_data / "models" / name).read_bytes() for name in FILES}


@pytest.fixture(scope="module")
def sessions() -> Iterator[list[Session]]:
    """TFLite files also run where there is little room."""
    pytest.importorskip("tflite_micro")
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(Session(target, QUICK, None, None, "single_label", None))
            for target in (load_target("host"), load_target("cortex-m4"))
        ]


def outcome(path: Path, sessions: list[Session]) -> str:
    try:
        model = describe_file(path)
    except ModelError as error:
        assert path.name in str(error)  # noqa: PT017 - one of two right ends
        return "refused"
    ends = [measured(model, target, session) for target, session in zip(targets(), sessions, strict=True)]
    return "ran" if "ran" in ends else "rejected"


def targets() -> list[Target]:
    return [load_target("host"), dataclasses.replace(load_target("cortex-m4"), ram_bytes=None)]


def measured(model: Model, target: Target, session: Session) -> str:
    pair = pair_of(model, target)
    if pair is None:
        return "not read"
    try:
        found = [each for step in session.measure(pair) for each in step]
    except EdgekdError as error:
        assert len(str(error)) < 2000  # noqa: PT017 - one of two right ends
        return "rejected"
    assert all(each.model_sha256 == model.sha256 for each in found)
    return "ran"


def check(seed: int, count: int, originals: Mapping[str, bytes], sessions: list[Session], folder: Path) -> list[str]:
    chance = random.Random(seed)  # noqa: S311 - repeatable, not secret
    ends = []
    for index in range(count):
        name = chance.choice(sorted(originals))
        path = folder / f"{index}-{name}"
        path.write_bytes(mutate(originals[name], chance))
        ends.append(outcome(path, sessions))
    left = subprocess.run(["pgrep", "-f", f"runner.py .*{folder}"], capture_output=True, text=True, check=False)
    assert left.stdout == ""
    return ends


def test_a_few_damaged_files(originals: Mapping[str, bytes], sessions: list[Session], tmp_path: Path) -> None:
    ends = check(1, 8, originals, sessions, tmp_path)
    assert {"refused", "ran"} <= set(ends)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("part", range(PARTS))
def test_2000_damaged_files(part: int, originals: Mapping[str, bytes], sessions: list[Session], tmp_path: Path) -> None:
    assert len(check(1000 + part, OF_EACH, originals, sessions, tmp_path)) == OF_EACH
