"""C sources as firmware takes them: compiled with TFLite Micro's own headers, linked with its library, and run.

xmos-ai-tools 1.3.1 is TFLite Micro of 2024: headers, and a library for x86-64 Linux with interpreter and kernels.
The vectors are of the wheel that edgekd uses, two years younger.
"""

import importlib.util
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from edgekd import store
from edgekd.inspection import inspect
from edgekd.packagers import c_source
from edgekd.records import Cargo, Model
from edgekd.stages.package import find_arenas, make_vectors
from tests.peers.conftest import environment

# The first run installs for minutes; each of TFLite Micro's headers is compiled for seconds.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

STRICT = ["-std=c++17", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror"]
CORTEX_M4 = ["-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16"]
FIRMWARE = ["-DTF_LITE_STATIC_MEMORY", "-fno-exceptions", "-fno-rtti", "-fno-threadsafe-statics"]
# A 64-bit library that keeps what firmware leaves out of each tensor needs a larger arena.
ROOM = 4
MAIN = """
#include <stdio.h>
#include "model_run.h"
#include "model_test.h"
int main(void) {
  printf("%d", model_self_test(model_run));
  return 0;
}
"""
RESNET = "models/mlperf_tiny/image_classification/pretrainedResnet_quant.tflite"
OCCUPIED = {
    RESNET: 55_984,
    "models/mlperf_tiny/anomaly_detection/ad01_int8.tflite": 3_984,
    "models/tflm/micro_speech_quantized.tflite": 7_584,
}


@dataclass(frozen=True)
class Library:
    headers: list[str]
    file: Path


@pytest.fixture(scope="module")
def library() -> Library:
    if not shutil.which("g++"):
        pytest.skip("no g++")
    python = environment("xmos-ai-tools", "--no-deps", "xmos-ai-tools==1.3.1")
    (root,) = (python.parent.parent / "lib").glob("python*/site-packages/xmos_ai_tools")
    folders = [root / "runtime/include", _gemmlowp()]
    return Library([f"-isystem{each}" for each in folders], root / "xinterpreters/libs/linux/xtflm_python.so.1.0.1")


def _gemmlowp() -> Path:
    """Headers that TFLite Micro's include: of the system, or of tensorflow's wheel."""
    found = importlib.util.find_spec("tensorflow")
    wheel = [Path(found.origin).parent / "include/external/gemmlowp"] if found and found.origin else []
    for each in (Path("/usr/include/gemmlowp"), *wheel):
        if (each / "fixedpoint/fixedpoint.h").is_file():
            return each
    pytest.skip("no headers of gemmlowp; on Debian: tools/install-system-packages")


@pytest.fixture(scope="module")
def packed(request: pytest.FixtureRequest, shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _pack(shared_data / request.param, OCCUPIED[request.param], tmp_path_factory.mktemp("packed"))


def _pack(path: Path, occupied_bytes: int, folder: Path) -> Path:
    pytest.importorskip("tflite_micro")
    anatomy = inspect(path)
    model = Model(
        name=path.name,
        path=path,
        format="tflite",
        precision="static_wi8_ai8",
        role="student",
        sha256=store.sha256_of(path),
        size_bytes=anatomy.size_bytes,
        inputs=anatomy.inputs,
        outputs=anatomy.outputs,
    )
    (spec,) = model.inputs
    shape = [size or 1 for size in spec.shape[1:]]
    stored = np.random.default_rng(0).integers(-128, 128, (4, *shape))
    samples = ((stored - (spec.zero_point or 0)) * (spec.scale or 1)).astype(np.float32)
    (vectors,) = make_vectors([(model, samples, True)])
    (arena_bytes,) = find_arenas([(path, occupied_bytes)])
    c_source.pack(cargo=Cargo(model=model, vectors=vectors, arena_bytes=arena_bytes), folder=folder)
    (folder / "main.c").write_text(MAIN)
    return folder


def _compile(*command: str | Path) -> None:
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), done.stderr[-3000:]


def _self_test(packed: Path, library: Library, folder: Path, *flags: str) -> str:
    """Build a program of all sources and give what it prints: how many outputs are wrong."""
    arena = arena_of(packed) * ROOM
    for name in ("data", "test"):
        _compile("gcc", "-std=c99", "-c", packed / f"model_{name}.c", "-o", folder / f"{name}.o")
    _compile("gcc", "-c", f"-I{packed}", packed / "main.c", "-o", folder / "main.o")
    _compile(
        *("g++", *STRICT, f"-DMODEL_ARENA_BYTES={arena}", *flags, *library.headers),
        *("-c", packed / "model_run.cc", "-o", folder / "run.o"),
    )
    _compile("g++", *folder.glob("*.o"), library.file, f"-Wl,-rpath,{library.file.parent}", "-o", folder / "program")
    done = subprocess.run([folder / "program"], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def arena_of(packed: Path) -> int:
    (line,) = [
        each for each in (packed / "model_data.h").read_text().splitlines() if "define MODEL_ARENA_BYTES" in each
    ]
    return int(line.split()[-1])


@pytest.mark.parametrize("packed", OCCUPIED, indirect=True, ids=lambda name: Path(name).stem)
def test_compiled_with_tflite_micro_the_test_vectors_match(packed: Path, library: Library, tmp_path: Path) -> None:
    assert _self_test(packed, library, tmp_path) == "0"


@pytest.mark.parametrize("packed", [RESNET], indirect=True, ids=lambda name: Path(name).stem)
def test_a_spoilt_vector_is_found(packed: Path, library: Library, tmp_path: Path) -> None:
    spoilt = tmp_path / "spoilt"
    shutil.copytree(packed, spoilt)
    text = (spoilt / "model_test.c").read_text()
    head, outputs = text.split("model_test_outputs[", 1)
    first = outputs.split("{\n  {\n", 1)[1].split(",", 1)[0]
    changed = str(int(first) - 9 if int(first) > 0 else int(first) + 9)
    (spoilt / "model_test.c").write_text(
        head + "model_test_outputs[" + outputs.replace(f"{{\n  {{\n{first},", f"{{\n  {{\n{changed},", 1)
    )
    assert _self_test(spoilt, library, tmp_path) == "1"


@pytest.mark.parametrize("packed", [RESNET], indirect=True, ids=lambda name: Path(name).stem)
def test_a_library_of_other_flags_is_an_error_and_no_crash(packed: Path, library: Library, tmp_path: Path) -> None:
    """Tensors then lie elsewhere; -1 is "could not be run"."""
    assert _self_test(packed, library, tmp_path, "-DTF_LITE_STATIC_MEMORY") == "-1"


@pytest.mark.parametrize("packed", [RESNET], indirect=True, ids=lambda name: Path(name).stem)
def test_compiles_for_cortex_m4_with_tflite_micro(packed: Path, library: Library, tmp_path: Path) -> None:
    if not shutil.which("arm-none-eabi-g++"):
        pytest.skip("no arm-none-eabi-g++; on Debian: tools/install-system-packages")
    made = tmp_path / "run.o"
    _compile(
        *("arm-none-eabi-g++", *CORTEX_M4, *STRICT, *FIRMWARE, "-Os", *library.headers),
        *("-c", packed / "model_run.cc", "-o", made),
    )
    sizes = subprocess.run(["arm-none-eabi-size", made], capture_output=True, text=True, check=True).stdout
    bss_bytes = int(sizes.splitlines()[1].split()[2])
    # The arena, and little besides, is what it takes of the chip's RAM.
    assert 0 <= bss_bytes - arena_of(packed) < 2_048
