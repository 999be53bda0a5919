"""TensorFlow's interpreter beside LiteRT's: two builds of one runtime, so they agree but for rounding."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

from edgekd.config import load_target
from edgekd.records import BenchmarkSpec
from edgekd.stages.benchmark import benchmark, describe_file, run_samples

pytestmark = [
    pytest.mark.slow,  # each process imports tensorflow
    pytest.mark.skipif(importlib.util.find_spec("tensorflow") is None, reason="needs pip install 'edgekd[keras]'"),
]
QUICK = BenchmarkSpec(runs=5, time_limit_s=0.5)


@pytest.mark.parametrize(
    ("name", "shape", "tolerance"),
    [
        ("models/mlperf_tiny/image_classification/pretrainedResnet_quant.tflite", (4, 3, 32, 32), 1 / 256),
        ("models/mlperf_tiny/image_classification/pretrainedResnet.tflite", (4, 3, 32, 32), 1e-6),
    ],
)
def test_it_agrees_with_litert(name: str, shape: tuple[int, ...], tolerance: float, shared_data: Path) -> None:
    inputs = np.random.default_rng(0).integers(0, 256, shape).astype(np.float32)
    model = describe_file(shared_data / name)
    (here,), (there,) = (
        run_samples([model], target=load_target(target), inputs=inputs) for target in ("host", "host-tensorflow")
    )
    assert (here.conditions.runtime, there.conditions.runtime) == ("litert", "tensorflow")
    assert here.outputs.std() > 10 * tolerance
    np.testing.assert_allclose(there.outputs, here.outputs, atol=tolerance)


def test_it_measures_with_xnnpack_and_without(shared_data: Path) -> None:
    model = describe_file(shared_data / "models/mlperf_tiny/image_classification/pretrainedResnet_quant.tflite")
    fast = load_target("host-tensorflow")
    plain = replace(fast, name="plain", xnnpack=False)
    found = benchmark([model], targets=[fast, plain], spec=QUICK)
    conditions = {each.target: each.conditions for each in found if each.metric == "latency"}
    assert (conditions["host-tensorflow"].delegate or "").startswith("XNNPACK")
    assert conditions["plain"].delegate == "none"
    assert {(each.runtime, each.runtime_version) for each in conditions.values()} == {
        ("tensorflow", metadata.version("tensorflow"))
    }
    assert {each.metric for each in found if each.target == "plain"} == {
        *("latency", "load_time", "first_inference", "peak_memory")
    }
