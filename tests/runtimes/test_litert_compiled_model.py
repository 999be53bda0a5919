"""LiteRT's two interfaces: the same kernels, so the same outputs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgekd.config import load_target
from edgekd.records import BenchmarkSpec
from edgekd.stages.benchmark import benchmark, describe_file, run_samples

QUICK = BenchmarkSpec(runs=5, time_limit_s=0.5)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("mlperf_tiny/image_classification/pretrainedResnet_quant.tflite", (4, 3, 32, 32)),
        ("mlperf_tiny/image_classification/pretrainedResnet.tflite", (4, 3, 32, 32)),
        ("mobilenet_v1_025/mobilenet_v1_0.25_224_quant.tflite", (2, 3, 224, 224)),
    ],
)
def test_outputs_are_those_of_the_interpreter(name: str, shape: tuple[int, ...], shared_data: Path) -> None:
    inputs = np.random.default_rng(0).integers(0, 256, shape).astype(np.float32)
    model = describe_file(shared_data / "models" / name)
    (here,), (there,) = (
        run_samples([model], target=load_target(target), inputs=inputs) for target in ("host", "host-compiled-model")
    )
    assert (here.conditions.runtime, there.conditions.runtime) == ("litert", "litert_compiled_model")
    assert here.outputs.std() > 0
    np.testing.assert_array_equal(there.outputs, here.outputs)


def test_files_of_several_inputs_run_too(shared_data: Path) -> None:
    model = describe_file(shared_data / "models/dtln/model_1.tflite")
    assert len(model.inputs) == 2
    found = benchmark([model], targets=[load_target("host-compiled-model")], spec=QUICK)
    assert {"latency", "peak_memory", "load_time"} <= {each.metric for each in found}


def test_without_xnnpack_it_is_slower_and_says_so(shared_data: Path) -> None:
    model = describe_file(shared_data / "models/mobilenet_v1_025/mobilenet_v1_0.25_224_1_default_1.tflite")
    fast = load_target("host-compiled-model")
    found = benchmark([model], targets=[fast, replace(fast, name="plain", xnnpack=False)], spec=QUICK)
    latency = {each.target: each for each in found if each.metric == "latency"}
    assert latency[fast.name].conditions.delegate == "XNNPACK, by CompiledModel"
    assert latency["plain"].conditions.delegate == "none, by CompiledModel"
    assert min(latency["plain"].samples) > 1.2 * min(latency[fast.name].samples)
