"""The runner on the oldest Python it is for, with runtimes of 2023 and 2024, as a board has that nobody updates."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgekd

RUNNER = Path(edgekd.__file__).with_name("runner.py")
PACKAGES = ("numpy<2", "onnxruntime==1.16.3")
# Its first release under this name, and the last one under the name before.
LITERT = {"ai-edge-litert": "1.0.1", "tflite-runtime": "2.14.0"}
RESNET8 = "models/mlperf_tiny/image_classification/pretrainedResnet_quant.tflite"
pytestmark = pytest.mark.slow


def find_python() -> str:
    installed = sorted(Path.home().glob(".pyenv/versions/3.9.*/bin/python"))
    found = str(installed[-1]) if installed else shutil.which("python3.9")
    if found is None or subprocess.run([found, "-c", "import venv"], capture_output=True, check=False).returncode:
        pytest.skip("no Python 3.9: pyenv install 3.9")
    return found


@pytest.fixture(scope="module", params=LITERT)
def litert(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def python(litert: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("old") / "venv"
    subprocess.run([find_python(), "-m", "venv", folder], check=True)
    made = subprocess.run(
        [folder / "bin" / "pip", "install", "-q", *PACKAGES, f"{litert}=={LITERT[litert]}"],
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode:
        pytest.skip(f"old runtimes can't be had: {made.stderr.strip().splitlines()[-1]}")
    return folder / "bin" / "python"


def run(python: Path, folder: Path, **job: Any) -> dict[str, dict[str, Any]]:
    path = folder / "job.json"
    path.write_text(json.dumps({"runs": 20, "time_limit_s": 1, **job}))
    done = subprocess.run([python, RUNNER, path], capture_output=True, text=True, check=False)
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert events[-1] == {"event": "done"}, done.stdout + done.stderr
    return {each["event"]: each for each in events}


@pytest.mark.parametrize(("engine", "model"), [("litert", RESNET8), ("onnxruntime", "models/dnsmos/model_v8.onnx")])
def test_times_and_memory(python: Path, shared_data: Path, tmp_path: Path, engine: str, model: str) -> None:
    job = {"engine": engine, "model": str(shared_data / model)}
    assert len(run(python, tmp_path, mode="latency", **job)["samples"]["ns"]) == 20
    assert run(python, tmp_path, mode="memory", **job)["memory"]["added_bytes"] > 0
    turns = run(python, tmp_path, mode="compare", other=job, **job)["turns"]
    assert len(turns["model"]) == len(turns["other"]) > 0


def test_the_version_is_that_of_the_package_that_is_there(python: Path, litert: str, tmp_path: Path) -> None:
    found = run(python, tmp_path, engine="litert", mode="environment")["environment"]
    assert found["runtime_version"] == LITERT[litert]


def test_outputs_are_those_of_new_runtimes(python: Path, shared_data: Path, tmp_path: Path) -> None:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    images = np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3)).astype(np.float32)
    np.save(tmp_path / "inputs.npy", images)
    job = {"engine": "litert", "model": str(shared_data / RESNET8), "inputs": str(tmp_path / "inputs.npy")}
    # XNNPACK's releases round differently.
    found = np.load(run(python, tmp_path, mode="accuracy", xnnpack=False, **job)["outputs"]["path"])
    resolver = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    here = Interpreter(str(shared_data / RESNET8), experimental_op_resolver_type=resolver)
    here.allocate_tensors()
    (given,), (gives,) = here.get_input_details(), here.get_output_details()
    scale, zero = gives["quantization"]
    for image, output in zip(images, found, strict=True):
        here.set_tensor(given["index"], (image[None] - 128).astype(np.int8))
        here.invoke()
        raw = here.get_tensor(gives["index"])[0].astype(np.float64)
        np.testing.assert_allclose(output, (raw - zero) * scale, rtol=1e-6)
