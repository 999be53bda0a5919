"""How well a model does: each metric scores outputs against labels, sample by sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgekd.errors import DataError
from edgekd.records import Task
from edgekd.units import METRICS

if TYPE_CHECKING:
    from numpy.typing import NDArray

_OF_TASK: dict[Task, tuple[str, ...]] = {
    "single_label": ("accuracy",),
    "multi_label": ("f1", "exact_match"),
    "regression": ("mean_squared_error", "mean_absolute_error", "spearman"),
    "reconstruction": ("auc", "reconstruction_error"),
    "next_token": ("perplexity", "bits_per_byte"),
    # Of some of the tokens alone there are no bytes.
    "masked_token": ("perplexity",),
}
# Functions of `edgekd.stats` with the name of the metric.
_NO_MEANS = ("auc", "perplexity", "bits_per_byte", "spearman")
# An area needs two samples of each kind before anything can be said of its error.
_LEAST_OF_A_KIND = 2
# Nor of that of a rank correlation with fewer samples.
_LEAST_RANKED = 4


@dataclass(frozen=True, kw_only=True)
class Scores:
    """What one metric says of a model's outputs.

    Attributes:
        samples: One score for each sample, in the order of the split; of `reconstruction_error` for each normal one.
            Of `perplexity` and `bits_per_byte` the nats per token and per byte, mean over each window. Of `spearman`
            the predicted value.
        labels: Of `auc`: 1 for anomalies and 0 for normal samples. Of `perplexity` and `bits_per_byte`: the tokens and
            the bytes of each window. Of `spearman`: the true values. Empty for all others.
    """

    metric: str
    samples: tuple[float, ...]
    labels: tuple[float, ...] = ()

    @property
    def value(self) -> float:
        """The mean of the samples; of metrics that are none, what `edgekd.stats` makes of samples and labels."""
        from edgekd import stats

        if self.metric in _NO_MEANS:
            value: float = getattr(stats, self.metric)(self.samples, self.labels)
            return value
        return sum(self.samples) / len(self.samples)


def metrics_of(task: Task, labels: NDArray[Any] | None = None) -> tuple[str, ...]:
    """Name the metrics of a task; the first is the one that choices are made by.

    Args:
        task: What a network of the dataset learns.
        labels: Of a split. Where they are not of both kinds, `auc` has no meaning and is left out; so is
            `reconstruction_error` without normal samples, and `spearman` of several outputs, or of labels that are all
            equal.

    Returns:
        Names of plug-ins of this folder; empty where none has a meaning.

    >>> metrics_of("multi_label"), metrics_of("reconstruction")
    (('f1', 'exact_match'), ('auc', 'reconstruction_error'))
    """
    names = _OF_TASK[task]
    if labels is None:
        return names
    if task == "regression":
        is_ordered = labels[0].size == 1 and len(labels) >= _LEAST_RANKED and labels.min() < labels.max()
        return names if is_ordered else tuple(name for name in names if name != "spearman")
    if task != "reconstruction":
        return names
    anomalies = int((labels == 1).sum())
    normals = int((labels == 0).sum())
    has_meaning = {"auc": min(anomalies, normals) >= _LEAST_OF_A_KIND, "reconstruction_error": normals > 0}
    return tuple(name for name in names if has_meaning[name])


def better(metric: str, one: float, other: float) -> bool:
    """Say whether one value of a metric is better than another: higher for shares, lower for errors.

    >>> better("accuracy", 0.9, 0.8), better("mean_squared_error", 0.9, 0.8)
    (True, False)
    """
    return one > other if METRICS[metric].bound == "at least" else one < other


def score_all(
    task: Task, *, outputs: NDArray[Any], labels: NDArray[Any], inputs: NDArray[Any] | None = None
) -> tuple[Scores, ...]:
    """Score outputs by every metric of a task that has a meaning for these labels.

    Args:
        task: What the network learnt.
        outputs: (N, ...), raw: logits, values, or reconstructed inputs; integers of a file already made floats. Of
            tokens (N, 2): nats and tokens of each window.
        labels: As `edgekd.datasets.Split` has them for the task.
        inputs: (N, ...), what outputs of a reconstruction are held against, in the outputs' layout.

    Returns:
        Scores in the order of `metrics_of`.

    Raises:
        DataError: Shapes that don't belong together, or labels that say nothing.

    >>> import numpy as np
    >>> (found,) = score_all("single_label", outputs=np.array([[2.0, 1.0], [0.0, 1.0]]), labels=np.array([0, 0]))
    >>> found.metric, found.samples, found.value
    ('accuracy', (1.0, 0.0), 0.5)
    """
    from edgekd import registry

    if not len(outputs) or len(outputs) != len(labels):
        raise DataError(f"{len(outputs)} outputs but {len(labels)} labels", allowed="one label for each output")
    flat = outputs.reshape(len(outputs), -1)
    found = []
    for name in metrics_of(task, labels):
        scores = registry.function("metrics", name)(outputs=flat, labels=labels, inputs=inputs)
        kinds: Sequence[float] = ()
        if name in _NO_MEANS:
            kinds = (flat[:, 1] if name == "perplexity" else labels.reshape(-1)).tolist()
        found.append(Scores(metric=name, samples=tuple(scores.tolist()), labels=tuple(map(float, kinds))))
    return tuple(found)
