from __future__ import annotations

import math

import numpy as np
import pytest

from edgekd.errors import DataError
from edgekd.metrics.mean_absolute_error import score


def test_agrees_with_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    outputs, labels = rng.normal(size=(50, 3)), rng.normal(size=(50, 3))
    found = score(outputs=outputs, labels=labels)
    assert found.shape == (50,)
    assert found.mean() == pytest.approx(metrics.mean_absolute_error(labels, outputs), rel=1e-12)


def test_each_sample_has_the_mean_over_its_outputs() -> None:
    found = score(outputs=np.array([[1.0, -3.0], [5.0, 5.0]]), labels=np.array([[0.0, 0.0], [5.0, 5.0]]))
    assert found.tolist() == [2.0, 0.0]


def test_float32_is_not_rounded_on_the_way() -> None:
    outputs, labels = np.full((1, 1), 1e4, np.float32), np.full((1, 1), 1e4 + 0.01, np.float32)
    exact = abs(float(outputs[0, 0]) - float(labels[0, 0]))
    assert score(outputs=outputs, labels=labels)[0] == pytest.approx(exact, rel=1e-12)


def test_what_is_no_number_stays_none() -> None:
    assert math.isnan(score(outputs=np.array([[math.nan]]), labels=np.array([[1.0]]))[0])


@pytest.mark.parametrize(("outputs", "labels"), [((3, 2), (3,)), ((3, 2), (2, 2)), ((3,), (3,))])
def test_shapes_must_belong_together(outputs: tuple[int, ...], labels: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match="belong together"):
        score(outputs=np.zeros(outputs), labels=np.zeros(labels))
