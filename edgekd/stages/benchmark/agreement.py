"""How often a file predicts on a target what it predicts on this machine, or what its teachers do, sample by sample."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekd.records import Head, Measurement, Task

_LOG = logging.getLogger("edgekd")
HOST = "host"


@dataclass(frozen=True, kw_only=True)
class Predicted:
    """What a file predicted on a target.

    Attributes:
        indices: Of the samples in the split, (N,), rising.
        predictions: (N, …), equal where the same is predicted.
        score: A measurement made of the same outputs.
    """

    indices: NDArray[np.intp]
    predictions: NDArray[Any]
    score: Measurement


def predictions_of(outputs: NDArray[np.float32], task: Task, head: Head = "logits") -> NDArray[np.float32] | None:
    """Say what outputs predict: a class or a set of labels for each sample; values are no predictions.

    Args:
        outputs: (N, …), of a file.
        task: What they are.
        head: Of a `class` the outputs are the predictions.

    Returns:
        (N, 1) or (N, classes); not a number, which equals nothing, where an output is none.

    >>> predictions_of(np.array([[0.1, 0.9], [0.2, np.nan]], "f"), "single_label").tolist()
    [[1.0], [nan]]
    """
    flat = outputs.reshape(len(outputs), -1)
    if task not in ("single_label", "multi_label"):
        return None
    if head == "class":
        return flat
    found = flat.argmax(axis=1, keepdims=True) if task == "single_label" else flat > 0
    return np.where(np.isnan(flat).any(axis=1, keepdims=True), np.float32(np.nan), found.astype(np.float32))


def agreements(predicted: Iterable[Predicted]) -> list[Measurement]:
    """Hold what files predicted elsewhere against what they predicted on the host, on the samples that both saw.

    Returns:
        The metric `agreement`, 0 or 1 for each sample, of each file that ran there and on the host.
    """
    everywhere = list(predicted)
    at_host = {_file_of(each): each for each in everywhere if each.score.target == HOST}
    found = []
    for there in everywhere:
        here = at_host.get(_file_of(there))
        if here is None or here is there:
            continue
        _, at_here, at_there = np.intersect1d(here.indices, there.indices, assume_unique=True, return_indices=True)
        equal = (here.predictions[at_here] == there.predictions[at_there]).all(axis=1)
        if len(equal):
            words = "%s on %s: of %d samples %d are predicted as on %s"
            _LOG.info(words, there.score.model, there.score.target, len(equal), np.count_nonzero(equal), HOST)
            samples = tuple(map(float, equal))
            found.append(replace(there.score, metric="agreement", unit="1", samples=samples, labels=()))
    return found


def teacher_agreements(measured: Iterable[Measurement], teachers: Sequence[Measurement]) -> list[Measurement]:
    """Hold what files predict against the class that most of the teachers give, the earlier one of two.

    How near a student comes to its teachers is another thing than how often it is right (Stanton et al. 2021,
    arXiv:2106.05945, section 3).

    Args:
        measured: Of files; those of `recall` hold what they predict.
        teachers: Their `recall` on the same split.

    Returns:
        The metric `teacher_agreement`, 0 or 1 for each sample, of each file that saw all that the teachers saw.

    >>> teacher = Measurement(model_sha256="5e1f", model="teacher-0", format="torch", precision="fp32", role="teacher",
    ...                       target="training", metric="recall", unit="1", samples=(0.0, 1.0), labels=(0.0, 0.0))
    >>> file = replace(teacher, model="student.tflite", format="tflite", role="student", samples=(1.0, 1.0))
    >>> [each.samples for each in teacher_agreements([file], [teacher])]
    [(0.0, 1.0)]
    """
    if not teachers:
        return []
    answers = np.stack([each.values for each in teachers])
    votes = (answers[:, None] == answers[None, :]).sum(axis=0)
    most = np.take_along_axis(answers, votes.argmax(axis=0)[None], axis=0)[0]
    found = []
    for each in measured:
        if each.metric == "recall" and each.labels == teachers[0].labels:
            equal = each.values == most
            words = "%s on %s: of %d samples %d are predicted as by the teachers"
            _LOG.info(words, each.model, each.target, len(equal), np.count_nonzero(equal))
            samples = tuple(map(float, equal))
            found.append(replace(each, metric="teacher_agreement", samples=samples, labels=(), parts=()))
    return found


def _file_of(predicted: Predicted) -> tuple[str, str]:
    return predicted.score.model, predicted.score.model_sha256
