"""How well a model does: each metric scores outputs against labels, sample by sample."""

from __future__ import annotations

from edgekd.records import Task

_METRICS_OF: dict[Task, tuple[str, ...]] = {
    "single_label": ("accuracy",),
    "multi_label": ("f1", "exact_match"),
    "regression": ("mean_squared_error", "mean_absolute_error"),
    "reconstruction": ("auc", "reconstruction_error"),
}


def metrics_of(task: Task) -> tuple[str, ...]:
    """Name the metrics of a task; the first is the one that choices are made by.

    >>> metrics_of("single_label")
    ('accuracy',)
    """
    return _METRICS_OF[task]
