"""A folder of model files, from anyone."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import pytest

from edgekd import store
from edgekd.errors import ModelError, StoreError
from edgekd.pipeline import open_for_gate, unused_metrics
from edgekd.records import Budget, GateSpec, Measurement
from edgekd.units import METRICS

MODEL = "models/mlperf_tiny/image_classification/pretrainedResnet_quant.tflite"


def test_files_of_anyone_are_described_and_weighed(shared_data: Path, tmp_path: Path) -> None:
    for name in ("a.tflite", "deep/er/a.tflite"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(shared_data / MODEL, tmp_path / name)
    (tmp_path / "notes.txt").touch()
    run = open_for_gate(tmp_path)
    assert [(model.name, model.path) for model in run.models] == [
        ("a.tflite", tmp_path / "a.tflite"),
        ("deep/er/a.tflite", tmp_path / "deep/er/a.tflite"),
    ]
    content = (shared_data / MODEL).read_bytes()
    found = {(each.model, each.metric): list(each.samples) for each in run.measurements}
    assert found["a.tflite", "file_size"] == [len(content)]
    assert found["deep/er/a.tflite", "compressed_size"] == [len(gzip.compress(content, 9, mtime=0))]
    assert {each.precision for each in run.measurements} == {"static_wi8_ai8"}


def test_a_folder_without_models_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"neither a run folder nor one with \.onnx or \.tflite files"):
        open_for_gate(tmp_path)
    with pytest.raises(StoreError, match="neither a run folder"):
        open_for_gate(tmp_path / "nowhere")


def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.tflite").write_bytes(b"\x08\x00\x00\x00TFL3" + bytes(100))
    with pytest.raises(ModelError, match=r"a\.tflite"):
        open_for_gate(tmp_path)


@pytest.mark.parametrize("name", ["a\n::error::b.tflite", "a\x1b[2J.onnx", "a\u2028b.onnx"])
def test_a_name_that_would_be_a_command_of_ci_or_of_a_terminal_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    with pytest.raises(StoreError, match="is a name that can't be printed; rename it") as caught:
        open_for_gate(tmp_path)
    assert str(caught.value).isprintable()


def test_names_in_a_run_are_looked_at_too(tmp_path: Path) -> None:
    store.write_json(
        tmp_path / "measurements.json",
        [
            Measurement(
                model_sha256="",
                model="a\n::error::b.onnx",
                format="onnx",
                precision="fp32",
                role="student",
                target="file",
                metric="file_size",
                unit="B",
                samples=(1.0,),
            )
        ],
    )
    with pytest.raises(StoreError, match="can't be printed"):
        open_for_gate(tmp_path)


def needs(name: str) -> str:
    """The metric whose measurements a budget on another one is judged by."""
    metric = METRICS[name]
    source = METRICS[metric.source] if metric.source else metric
    return source.told_by or source.name


@pytest.mark.parametrize("large", ["recall", "calibration_error"])
def test_what_is_left_unread_is_what_no_budget_is_judged_by(large: str) -> None:
    for name in METRICS:
        unread = unused_metrics(GateSpec(budgets=(Budget(metric=name, limit="1"),)))
        assert (large in unread) == (needs(name) != large), name
        by_formula = GateSpec(budgets=(Budget(metric=f"2 * {name}", limit="1"),))
        assert unused_metrics(by_formula) == unread
    assert {"mcc", "macro_f1", "mcc_drop"} <= {name for name in METRICS if needs(name) == "recall"}
