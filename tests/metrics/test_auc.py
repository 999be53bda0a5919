from __future__ import annotations

import numpy as np
import pytest

from edgekd import stats
from edgekd.errors import DataError
from edgekd.metrics.auc import score


def test_anomalies_that_a_linear_autoencoder_can_not_rebuild_score_high() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    digits = pytest.importorskip("sklearn.datasets").load_digits()
    normal = digits.target < 5
    train = digits.data[normal][:400]
    mean = train.mean(axis=0)
    components = np.linalg.svd(train - mean, full_matrices=False)[2][:10]
    inputs = np.concatenate([digits.data[normal][400:], digits.data[~normal]])
    labels = np.repeat([0, 1], [normal.sum() - 400, (~normal).sum()])
    outputs = (inputs - mean) @ components.T @ components + mean
    scores = score(outputs=outputs, labels=labels, inputs=inputs)
    np.testing.assert_allclose(scores, ((outputs - inputs) ** 2).mean(axis=1), rtol=1e-12)
    area = stats.auc(scores, labels.astype(float))
    assert area == pytest.approx(metrics.roc_auc_score(labels, scores), rel=1e-12)
    assert area > 0.75


def test_there_must_be_one_label_for_each_sample() -> None:
    with pytest.raises(DataError, match="belong together"):
        score(outputs=np.zeros((3, 2)), labels=np.zeros((3, 1), int), inputs=np.zeros((3, 2)))
    with pytest.raises(DataError, match="belong together"):
        score(outputs=np.zeros((3, 2)), labels=np.zeros(3, int))
