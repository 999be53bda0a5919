"""A history in MLflow, read back by MLflow's own client."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest

from edgekd.errors import ConfigError, MissingExtraError, StoreError
from edgekd.pipeline import Past, export_history
from tests.history.gates import figure, gate, unbudgeted

GATES = (
    gate(
        1, figure(), figure(1.2e-5, metric="latency", statistic="p90", target="host", unit="s", low=1.1e-5, high=1.3e-5)
    ),
    gate(2, unbudgeted(28_900.0), status="fail", commit=""),
    gate(3, figure(1.0, model="größe/../../b.onnx"), recipe="ecg"),
)
PAST = Past(file=Path("history.sqlite"), recipe=None, gates=GATES)


@pytest.fixture
def mlflow() -> Any:
    pytest.importorskip("sqlalchemy", reason="the extra mlflow is not installed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what MLflow imports
        return pytest.importorskip("mlflow", reason="the extra mlflow is not installed")


def runs_of(mlflow: Any, folder: Path, experiment: str) -> list[Any]:
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{folder / 'mlflow.db'}")
    found = client.get_experiment_by_name(experiment)
    return list(client.search_runs([found.experiment_id], order_by=["attributes.start_time"]))


@pytest.mark.filterwarnings("default")
def test_each_gate_is_a_run_with_what_it_saw(mlflow: Any, tmp_path: Path) -> None:
    exported = export_history(PAST, f"mlflow={tmp_path}")
    assert (exported.place, exported.made, exported.there) == (f"sqlite:///{tmp_path / 'mlflow.db'}", 3, 0)
    first, second = runs_of(mlflow, tmp_path, "digits")
    assert first.data.metrics == pytest.approx(
        {
            "file_size/file/student.tflite": 28_800,
            "file_size/file/student.tflite/low": 28_800,
            "file_size/file/student.tflite/high": 28_800,
            "file_size/file/student.tflite/limit": 40_000,
            "latency p90/host/student.tflite": 1.2e-5,
            "latency p90/host/student.tflite/low": 1.1e-5,
            "latency p90/host/student.tflite/high": 1.3e-5,
            "latency p90/host/student.tflite/limit": 40_000,
        }
    )
    assert first.data.params == {"recipe": "digits", "recipe_sha256": "5e1f"}
    assert first.data.tags["edgekd.status"] == "pass"
    assert first.data.tags["mlflow.source.git.commit"] == f"{1:040x}"
    assert (first.info.run_name, first.info.status) == ("try-1", "FINISHED")
    assert first.info.start_time == first.info.end_time == 1_795_953_660_000  # 2026-11-29 12:01 UTC
    assert second.data.metrics == {"file_size/file/student.tflite": 28_900}
    assert second.data.tags["edgekd.status"] == "fail"
    (third,) = runs_of(mlflow, tmp_path, "ecg")
    assert [name for name in third.data.metrics if ".." in name.split("/") or not name.isascii()] == []
    assert sorted(third.data.metrics.values()) == [1, 1, 1, 40_000]


@pytest.mark.filterwarnings("default")
def test_exported_again_only_what_is_new_is_written_and_what_was_cut_off_is_done_again(
    mlflow: Any, tmp_path: Path
) -> None:
    older = Past(file=PAST.file, recipe=None, gates=GATES[:1])
    assert export_history(older, f"mlflow={tmp_path}").made == 1
    again = export_history(PAST, f"mlflow={tmp_path}")
    assert (again.made, again.there) == (2, 1)
    # A run that never ended is what a killed export leaves.
    client = mlflow.MlflowClient(tracking_uri=again.place)
    client.update_run(runs_of(mlflow, tmp_path, "digits")[1].info.run_id, status="RUNNING")
    last = export_history(PAST, f"mlflow={tmp_path}")
    assert (last.made, last.there) == (1, 2)
    assert [each.data.metrics["file_size/file/student.tflite"] for each in runs_of(mlflow, tmp_path, "digits")] == [
        28_800,
        28_900,
    ]


@pytest.mark.filterwarnings("default")
def test_a_server_that_is_not_there_is_one_line_without_the_password(mlflow: Any) -> None:
    assert mlflow
    with pytest.raises(StoreError, match=r"127\.0\.0\.1:9") as caught:
        export_history(PAST, "mlflow=http://me:secret@127.0.0.1:9")
    assert "secret" not in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("wish", ["mlflow", "mlflow=", "=runs", "wandb=project", "mlflw=x"])
def test_a_wish_that_is_none_is_refused(wish: str) -> None:
    with pytest.raises(ConfigError, match="mlflow=URI or mlflow=FOLDER"):
        export_history(PAST, wish)


def test_without_mlflow_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "mlflow" else object())
    with pytest.raises(MissingExtraError, match=r"not installed: mlflow; pip install 'edgekd\[mlflow\]'"):
        export_history(PAST, "mlflow=runs")
