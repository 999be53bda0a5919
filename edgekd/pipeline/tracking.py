"""Gives a history to an experiment tracker: each gate a run of MLflow."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from edgekd import registry
from edgekd.errors import ConfigError, StoreError, did_you_mean
from edgekd.history import trends_of
from edgekd.pipeline.history import Past
from edgekd.records import PastGate

_TRACKERS = ("mlflow",)
_TAG = "edgekd.gate"
# Nothing is told to anyone but the server that was named, and one that is not there is given up in seconds, not in
# the minutes that MLflow tries for. Who says otherwise in the environment is heard.
_SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
}
# What MLflow takes.
_METRICS_PER_CALL, _NAME_LENGTH, _PAGE = 1000, 250, 1000


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What an export came to.

    Attributes:
        place: The tracking URI.
        made: Gates that were written.
        there: Gates that an earlier export wrote.
    """

    place: str
    made: int
    there: int


def export_history(past: Past, wish: str) -> Exported:
    """Write gates to a tracker that don't lie there yet: recipes as experiments, gates as runs.

    Args:
        past: What to write.
        wish: `mlflow=` and a tracking URI, or a folder in which MLflow's database is made.

    Raises:
        ConfigError: The wish is none.
        MissingExtraError: MLflow is not installed.
        StoreError: MLflow refuses.
    """
    kind, _, place = wish.partition("=")
    if kind not in _TRACKERS or not place:
        raise ConfigError(
            f"'{wish}' is no tracker and place",
            where="--export",
            allowed="mlflow=URI or mlflow=FOLDER",
            next_step=did_you_mean(kind, _TRACKERS),
        )
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    registry.require_all(("mlflow", "sqlalchemy", "alembic"))
    mlflow = registry.require("mlflow", "exporting a history")
    folder = None if _is_uri(place) else Path(place).absolute()
    uri = place if folder is None else f"sqlite:///{folder / 'mlflow.db'}"
    try:
        if folder:
            folder.mkdir(parents=True, exist_ok=True)
        client = mlflow.MlflowClient(tracking_uri=uri)
        made = 0
        for recipe in dict.fromkeys(gate.recipe for gate in past.gates):
            experiment = _experiment(client, recipe, folder)
            there = _finished(client, experiment)
            for gate in past.gates:
                if gate.recipe == recipe and _key(gate) not in there:
                    _write(mlflow, client, experiment, gate)
                    made += 1
    except (mlflow.exceptions.MlflowException, OSError) as error:
        reason = _without_password(str(error).splitlines()[0])
        raise StoreError(f"MLflow: {reason}", where=_without_password(uri)) from error
    return Exported(place=_without_password(uri), made=made, there=len(past.gates) - made)


def _without_password(text: str) -> str:
    """Logs of CI are read by many.

    >>> _without_password("https://me:secret@tracking.example/x")
    'https://tracking.example/x'
    """
    return re.sub(r"//[^/@\s]*@", "//", text)


def _is_uri(place: str) -> bool:
    return "://" in place or place.partition(":")[0] in ("databricks", "databricks-uc", "file")


def _experiment(client: Any, name: str, folder: Path | None) -> str:
    if found := client.get_experiment_by_name(name):
        if found.lifecycle_stage != "active":
            raise StoreError(
                f"the experiment '{name}' was deleted", where="MLflow", next_step="restore it, or purge it for good"
            )
        return str(found.experiment_id)
    # Where the server does not say, MLflow would name a folder of the working folder.
    artifacts = (folder / "artifacts").as_uri() if folder else None
    return str(client.create_experiment(name, artifact_location=artifacts))


def _finished(client: Any, experiment: str) -> set[str]:
    """Gates that are there; what an interrupted export left of one is thrown away."""
    found, token = set(), None
    while True:
        page = client.search_runs([experiment], max_results=_PAGE, page_token=token)
        for run in page:
            if key := run.data.tags.get(_TAG):
                if run.info.status == "FINISHED":
                    found.add(key)
                else:
                    client.delete_run(run.info.run_id)
        token = page.token
        if not token:
            return found


def _write(mlflow: Any, client: Any, experiment: str, gate: PastGate) -> None:
    time_ms = int(datetime.fromisoformat(gate.gated_at).timestamp() * 1000)
    tags = {
        _TAG: _key(gate),
        "edgekd.status": gate.status,
        "edgekd.version": gate.version,
        "mlflow.source.name": "edgekd gate",
        "mlflow.source.git.commit": gate.commit,
    }
    run = client.create_run(
        experiment, start_time=time_ms, run_name=gate.run, tags={key: value for key, value in tags.items() if value}
    )
    params = {"recipe": gate.recipe, "recipe_sha256": gate.recipe_sha256}
    metrics = [mlflow.entities.Metric(name, value, time_ms, 0) for name, value in _metrics(gate)]
    for start in range(0, len(metrics), _METRICS_PER_CALL):
        client.log_batch(run.info.run_id, metrics=metrics[start : start + _METRICS_PER_CALL])
    client.log_batch(
        run.info.run_id, params=[mlflow.entities.Param(key, value) for key, value in params.items() if value]
    )
    client.set_terminated(run.info.run_id, "FINISHED", end_time=time_ms)


def _metrics(gate: PastGate) -> Iterator[tuple[str, float]]:
    """What a gate saw by the names that MLflow gets, in base units."""
    for trend in trends_of([gate]):
        figure = trend.latest
        for end in ("observed", "low", "high", "limit"):
            value = getattr(figure, end)
            if value is not None:
                parts = (trend.name, figure.target, figure.model, "" if end == "observed" else end)
                yield _metric_name(*parts), value


def _metric_name(*parts: str) -> str:
    """A name that MLflow takes, which it reads as a path.

    >>> _metric_name("latency p90", "host", "student.tflite", "low")
    'latency p90/host/student.tflite/low'
    >>> _metric_name("file_size", "file", "../größe.onnx")
    'file_size/file/.._gr__e.onnx-1ccf1ee8'
    """
    name = "/".join(filter(None, parts))
    safe = "/".join(_safe(part) for part in parts if part)
    if safe == name and len(safe) <= _NAME_LENGTH:
        return safe
    # Names that are not the same stay apart.
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{safe[: _NAME_LENGTH - len(digest) - 1]}-{digest}"


def _safe(part: str) -> str:
    return re.sub(r"^\.+$", "_", re.sub(r"[^A-Za-z0-9_.\- ]", "_", part))


def _key(gate: PastGate) -> str:
    return f"{gate.gated_at} {gate.fingerprint}"
