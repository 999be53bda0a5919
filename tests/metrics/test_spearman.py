from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from edgekd.errors import DataError
from edgekd.metrics import score_all
from edgekd.metrics.spearman import score


def test_agrees_with_scipy() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 6, (200, 1)).astype(np.float32)
    outputs = labels + rng.normal(size=(200, 1)).astype(np.float32)
    *_, found = score_all("regression", outputs=outputs, labels=labels)
    assert found.metric == "spearman"
    assert found.value == pytest.approx(stats.spearmanr(outputs[:, 0], labels[:, 0]).statistic, rel=1e-12)


def test_gives_the_predicted_values_whatever_they_are() -> None:
    found = score(outputs=np.array([[-1.5], [np.nan]]), labels=np.array([[1.0], [0.0]]))
    np.testing.assert_array_equal(found, [-1.5, np.nan])


@pytest.mark.parametrize(
    ("outputs", "labels", "words"),
    [((3, 2), (3, 2), "2 outputs have no single order"), ((3, 1), (3,), "belong together")],
)
def test_several_outputs_have_no_order(outputs: tuple[int, ...], labels: tuple[int, ...], words: str) -> None:
    with pytest.raises(DataError, match=words):
        score(outputs=np.zeros(outputs), labels=np.zeros(labels))
