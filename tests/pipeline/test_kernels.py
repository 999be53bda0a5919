"""Where an arm64 is set up a run compares kernels; where none is, nothing happens."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgekd import pipeline
from edgekd.pipeline.kernels import KERNEL_SAMPLES
from edgekd.records import ExportSpec, Target
from edgekd.stages.benchmark import describe_file
from edgekd.stages.export import export

INT8 = ("export.precisions=['fp32', 'static_wi8_ai8']", "student.hidden=[200]")  # smaller ones gain nothing


def reference(shared_data: Path) -> tuple[Path, np.ndarray]:
    file = shared_data / "models" / "mlperf_tiny" / "anomaly_detection" / "ad01_int8.tflite"
    return file, np.random.default_rng(0).normal(0, 10, (40, 640)).astype(np.float32)


def test_without_an_arm64_nothing_is_compared(shared_data: Path) -> None:
    file, inputs = reference(shared_data)
    assert pipeline.compare_on_arm64([describe_file(file)], inputs=inputs) == ()


def test_a_file_is_held_against_itself(shared_data: Path, arm64: Target, own_cache: Path) -> None:
    (own_cache / "arm64-root").symlink_to(arm64.address or "")
    file, inputs = reference(shared_data)
    model = describe_file(file)
    found = {each.metric: each for each in pipeline.compare_on_arm64([model], inputs=inputs, task="reconstruction")}
    assert found.keys() == {"kernel_parity", "kernel_bit_equal", "kernel_max_error"}
    for each in found.values():
        assert (each.model_sha256, each.target, each.conditions.arch) == (model.sha256, "arm64-emulated", "aarch64")
    assert found["kernel_parity"].samples == (1.0,) * KERNEL_SAMPLES
    assert len(found["kernel_bit_equal"].samples) == KERNEL_SAMPLES


@pytest.mark.slow
def test_sums_that_overflow_on_this_machine_are_no_fault_of_the_file(
    tmp_path: Path, arm64: Target, own_cache: Path
) -> None:
    import torch

    (own_cache / "arm64-root").symlink_to(arm64.address or "")
    torch.manual_seed(0)
    student = torch.nn.Sequential(
        *(torch.nn.Conv2d(3, 16, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv2d(16, 32, 3, padding=1)),
        *(torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(32, 10)),
    )
    inputs = np.random.default_rng(0).normal(size=(64, 3, 16, 16)).cumsum(2).astype(np.float32)
    spec = ExportSpec(formats=("onnx",), precisions=("static_wi8_ai8",))
    made = export(student, folder=tmp_path, spec=spec, calibration=inputs, check=inputs, task="regression")
    found = pipeline.compare_on_arm64(made.models, inputs=inputs, task="regression")
    (equal,) = (each for each in found if each.metric == "kernel_bit_equal")
    assert set(equal.samples) == {1.0}


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # of quantizers
def test_a_run_compares_once_and_again_when_an_arm64_comes(
    recipe: Path, run: Callable[..., pipeline.Outcome], arm64: Target, own_cache: Path
) -> None:
    outcome = run(*INT8, until="kernels")
    assert outcome.made == ("teachers", "assistants", "distill", "export", "kernels")
    kept = recipe.parent / "run" / "kernels" / "measurements.json"
    assert json.loads(kept.read_text()) == []
    (own_cache / "arm64-root").symlink_to(arm64.address or "")
    outcome = run(*INT8, until="kernels")
    assert outcome.made == ("kernels",)
    found = [each for each in outcome.run.measurements if each.metric == "kernel_parity"]
    assert [each.model for each in found] == ["student.static_wi8_ai8.onnx"]
    assert set(found[0].samples) == {1.0}
    assert run(*INT8, until="kernels").made == ()


@pytest.mark.slow
@pytest.mark.usefixtures("recipe", "own_cache")
@pytest.mark.skipif(importlib.util.find_spec("tensorflow") is None, reason="needs pip install 'edgekd[keras]'")
def test_a_second_opinion_on_tflite_files_where_the_recipe_asks_for_it(
    run: Callable[..., pipeline.Outcome],
) -> None:
    changed: tuple[str, ...] = ("export.formats=['onnx', 'tflite']", "benchmark.targets=['host', 'host-tensorflow']")
    # So many samples that their measurements are packed.
    changed += ("data.validation=0.7",)
    outcome = run(*changed, until="kernels")
    found = {each.metric: each for each in outcome.run.measurements if each.metric.startswith("kernel_")}
    (parity, error) = (found[name] for name in ("kernel_parity", "kernel_max_error"))
    assert (parity.model, parity.target) == ("student.fp32.tflite", "host-tensorflow")
    assert parity.conditions.runtime == "tensorflow"
    assert parity.samples == (1.0,) * KERNEL_SAMPLES
    assert error.samples[0] < 1e-4
    assert run(*changed, until="kernels").made == ()
