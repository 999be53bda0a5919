"""How well a model does, in words: its metric's name, and numbers in percent or as they are."""

from __future__ import annotations

from collections.abc import Iterable
from typing import get_args

from edgekd.metrics import metrics_of
from edgekd.records import Measurement, Task
from edgekd.units import METRICS

# The one metric of each task that tables and charts show; what else was measured is in report.json.
PRIMARY = tuple(metrics_of(task)[0] for task in get_args(Task))
_LABELS = {"f1": "F1", "auc": "AUC", "macro_f1": "macro F1", "mcc": "MCC", "spearman": "Spearman's correlation"}


def primary_metric(measurements: Iterable[Measurement]) -> str:
    """Name the metric that a run is about, by what was measured.

    >>> primary_metric([])
    'accuracy'
    """
    there = {each.metric for each in measurements}
    return next((metric for metric in PRIMARY if metric in there), PRIMARY[0])


def label_of(metric: str) -> str:
    """Name a metric as people do.

    >>> label_of("mean_squared_error"), label_of("auc")
    ('mean squared error', 'AUC')
    """
    return _LABELS.get(metric, metric.replace("_", " "))


def is_share(metric: str) -> bool:
    """Whether a metric is a share of one, written in percent; errors are numbers of the data's own unit."""
    known = METRICS.get(metric)
    return known is not None and known.dimension == "share"


def lower_is_better(metric: str) -> bool:
    """Whether a metric is an error.

    >>> lower_is_better("accuracy")
    False
    """
    known = METRICS.get(metric)
    return known is not None and known.bound == "at most"


def score_text(value: float, metric: str) -> str:
    """Write a score.

    >>> score_text(0.8766, "accuracy")
    '87.66 %'
    """
    return f"{value * 100:.2f} %" if is_share(metric) else f"{value:.4g}"


def points_text(value: float, metric: str, *, sign: str = "-") -> str:
    """Write the difference of two scores, in points where they are shares.

    >>> points_text(0.0123, "accuracy"), points_text(-0.0123, "accuracy", sign="+")
    ('1.23 pt', '-1.23 pt')
    """
    return f"{value * 100:{sign}.2f} pt" if is_share(metric) else f"{value:{sign}.3g}"


def axis_of(metric: str) -> tuple[float, str]:
    """Give the factor and the title of an axis of scores.

    >>> axis_of("accuracy")
    (100.0, 'accuracy (%)')
    """
    return (100.0, f"{label_of(metric)} (%)") if is_share(metric) else (1.0, label_of(metric))
