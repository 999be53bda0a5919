"""`edgekd export`: a model of one's own, where an emulated arm64 is set up."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgekd.records import Target

IMAGES = "models/mlperf_tiny/image_classification/pretrainedResnet"


@pytest.mark.slow  # TensorFlow's converter, tf2onnx, and an emulated processor
@pytest.mark.parametrize("suffix", [".tflite", ".h5"])
def test_images_with_channels_last_reach_the_kernels_of_both_formats(
    shared_data: Path, arm64: Target, own_cache: Path, tmp_path: Path, suffix: str
) -> None:
    (own_cache / "arm64-root").symlink_to(arm64.address or "")
    with np.load(shared_data / "cifar10" / "cifar10_lossless_train4000.npz") as arrays:
        np.save(tmp_path / "images.npy", arrays["x_train_first4000"][:200].astype(np.float32))
    command = ["export", f"{shared_data / IMAGES}{suffix}", "--precision", "static_wi8_ai8"]
    done = subprocess.run(
        [sys.executable, "-m", "edgekd", *command, "--calibration", "images.npy", "--samples", "100", "--json"],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = {
        (each["format"], each["metric"]): each["samples"]
        for each in json.loads(done.stdout)["measurements"]
        if each["metric"] in ("kernel_parity", "kernel_bit_equal")
    }
    formats = ["tflite"] if suffix == ".tflite" else ["onnx", "tflite"]
    assert sorted({name for name, _ in found}) == formats
    for name in formats:
        assert set(found[name, "kernel_parity"]) == {1.0}
    assert set(found["tflite", "kernel_bit_equal"]) == {1.0}
