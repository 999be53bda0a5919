"""The arena that is found is enough, and with a step less TFLite Micro sets nothing up."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from edgekd.errors import ExportError
from edgekd.stages.package.arenas import STEP_BYTES, find_arenas
from tests.lints.tflite_files import Operator, Tensor, activation, weights, write_tflite

# What they occupy once they are set up, as shared data and TFLite Micro's own log say.
OCCUPIED = {
    "models/mlperf_tiny/image_classification/pretrainedResnet_quant.tflite": 55_984,
    "models/mlperf_tiny/anomaly_detection/ad01_int8.tflite": 3_984,
    "models/tflm/hello_world_int8.tflite": 1_504,
}
# Not edgekd's own code: TFLite Micro in a process of its own, with the arena that it is told.
RUN = """
import sys
from tflite_micro import runtime
runtime.Interpreter.from_file(sys.argv[1], arena_size=int(sys.argv[2])).invoke()
"""


def runs(path: Path, arena_bytes: int) -> bool:
    done = subprocess.run([sys.executable, "-c", RUN, path, str(arena_bytes)], capture_output=True, check=False)
    return done.returncode == 0


def test_no_files_need_no_process() -> None:
    assert find_arenas([]) == []


def test_arena_is_enough_and_a_step_less_is_not(shared_data: Path) -> None:
    pytest.importorskip("tflite_micro")
    files = [(shared_data / name, occupied) for name, occupied in OCCUPIED.items()]
    found = find_arenas(files)
    for (path, occupied), arena_bytes in zip(files, found, strict=True):
        assert arena_bytes % STEP_BYTES == 0
        assert arena_bytes >= occupied
        assert runs(path, arena_bytes), path.name
        assert not runs(path, arena_bytes - STEP_BYTES), path.name
    # Planning needs more than the plan: what is occupied would not do.
    assert not runs(files[1][0], 3_984)
    assert found[1] > 3_984


def test_file_that_no_arena_can_run_is_refused(shared_data: Path) -> None:
    pytest.importorskip("tflite_micro")
    hybrid = shared_data / "models/dtln/model_quant_1.tflite"
    with pytest.raises(ExportError, match=r"model_quant_1.tflite: TFLite Micro does not run it in an arena"):
        find_arenas([(hybrid, 4_000)])


def write_lookup(path: Path) -> None:
    """A file that looks 16 tokens up in a table of 20 rows."""
    tensors = {
        "tokens": Tensor(shape=(1, 16), dtype="int32"),
        "table": weights("float32", 20, 8),
        "rows": activation("float32", 1, 16, 8),
    }
    gather = Operator(name="GATHER", inputs=("table", "tokens"), outputs=("rows",))
    write_tflite(path, tensors, [gather], ["tokens"], ["rows"])


# What lay in the arena's memory before, as it may in any process.
DIRTY = """
import sys
from pathlib import Path
from tflite_micro import runtime
from edgekd.stages.package import arenas
content, size = Path(sys.argv[1]).read_bytes(), 4096
for runs in (
    lambda: arenas._runs(runtime, content, size),
    lambda: runtime.Interpreter.from_bytes(content, arena_size=size).invoke(),
):
    junk = [b"\\xff" * (size + more) for more in range(-64, 64, 8)]
    del junk
    print(runs())
"""


def test_tokens_that_lie_there_by_chance_are_not_looked_up(tmp_path: Path) -> None:
    pytest.importorskip("tflite_micro")
    write_lookup(tmp_path / "lookup.tflite")
    command = [sys.executable, "-c", DIRTY, str(tmp_path / "lookup.tflite")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout == "True\n"
    assert "failed to invoke" in done.stderr, "else this test would not tell"
    assert find_arenas([(tmp_path / "lookup.tflite", 600)])[0] < 4096
