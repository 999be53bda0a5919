"""`edgekd package`: a model file of one's own, ready for an app or a firmware."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

QUANTIZED = "models/mlperf_tiny/image_classification/pretrainedResnet_quant.tflite"
LABELS = "airplane,automobile,bird,cat,deer,dog,frog,horse,ship,truck"


def package(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "edgekd", "package", *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_firmware_gets_all_that_it_needs(shared_data: Path, tmp_path: Path) -> None:
    tflite_micro = pytest.importorskip("tflite_micro").runtime
    pixels = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3)).astype(np.float32)
    np.savez(tmp_path / "samples.npz", x=pixels)
    done = package(
        *(shared_data / QUANTIZED, "--target", "cortex-m4", "--labels", LABELS, "--samples", "samples.npz"),
        *("--licence", "Apache-2.0", "--head", "probabilities", "--title", "ResNet-8"),
        *("--packager", "c_source", "--option", "c_source.symbol=net", "--packager", "model_card", "--json"),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    made = json.loads(done.stdout)
    files = {file["path"]: file["packager"] for file in made["files"]}
    sources = ("data.h", "data.c", "resolver.h", "run.h", "run.cc", "test.h", "test.c")
    assert files == {**{f"net_{each}": "c_source" for each in sources}, "README.md": "model_card"}
    folder = tmp_path / "packaged"
    # The arena is that of TFLite Micro's own interpreter, measured here.
    header = (folder / "net_data.h").read_text()
    arena = re.search(r"#define NET_ARENA_BYTES (\d+)", header)
    assert arena is not None
    assert f"| TFLite Micro arena | {arena[1]} B | cortex-m4 |" in (folder / "README.md").read_text()
    content = (shared_data / QUANTIZED).read_bytes()
    tflite_micro.Interpreter.from_bytes(content, arena_size=int(arena[1]) + 1024)
    with pytest.raises(RuntimeError):
        tflite_micro.Interpreter.from_bytes(content, arena_size=int(arena[1]) // 2)
    # What a chip has to give is what TFLite Micro gives for the first samples.
    interpreter = tflite_micro.Interpreter.from_bytes(content)
    text = (folder / "net_test.c").read_text()
    expected = re.search(r"outputs?\w*\[.*?\] = \{(.*?)\n\};", text, re.DOTALL)
    assert expected is not None
    given = [int(each) for each in re.findall(r"-?\d+", re.sub(r"/\*.*?\*/", "", expected[1]))]
    wanted: list[int] = []
    for sample in pixels[: len(given) // 10]:
        interpreter.set_input((sample[None] - 128).astype(np.int8), 0)
        interpreter.invoke()
        wanted += interpreter.get_output(0).ravel().tolist()
    assert len(given) == 40
    assert given == wanted


def test_without_samples_and_targets_what_suits_any_app_is_made(shared_data: Path, tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text(LABELS.replace(",", "\n") + "\n")
    done = package(shared_data / QUANTIZED, "--labels", "labels.txt", "--out", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines()[1:]]
    assert {row[0] for row in rows} == {"tflite_metadata", "snippets", "model_card"}
    assert all((tmp_path / row[1]).is_file() for row in rows)
    assert "cat" in (tmp_path / "out" / "pretrainedResnet_quant_snippet.py").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.tflite"], "missing.tflite: no such file"),
        (["MODEL", "--licence", "free"], "licence 'free'"),
        (["MODEL", "--packager", "ort"], "packager 'ort' has no file to package"),
        (["MODEL", "--packager", "zip"], "unknown packager 'zip'"),
        (["MODEL", "--option", "c_source.symbol=net"], "add --packager c_source"),
        (["MODEL", "--packager", "c_source", "--option", "c_source.prefix=net"], "unknown key 'prefix'"),
        (["MODEL", "--packager", "c_source", "--option", "c_source.symbol=Net-1"], "symbol 'Net-1'"),
        (["MODEL", "--packager", "tflite_metadata", "--labels", "a,b"], "2 labels for 10 outputs"),
        (["MODEL", "--labels", "none.txt"], "can't read labels"),
        (["MODEL", "--mean", "half"], "'half'"),
        (["MODEL", "--raw-range", "255"], "two numbers"),
        (["MODEL", "--set", "package.title=it"], "--set is for recipes only"),
        (["digits", "--labels", "a,b"], "--labels is for model files"),
    ],
)
def test_mistakes_exit_2(arguments: list[str], message: str, shared_data: Path, tmp_path: Path) -> None:
    words = [str(shared_data / QUANTIZED) if each == "MODEL" else each for each in arguments]
    done = package(*words, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr
