"""What all metrics do together: which task has which, what is better, and every one of them scored at once."""

from __future__ import annotations

import subprocess
import sys
from typing import Any, get_args

import numpy as np
import pytest

from edgekd import registry, units
from edgekd.errors import DataError
from edgekd.metrics import Scores, better, metrics_of, score_all
from edgekd.records import Task

RNG = np.random.default_rng(0)
INPUTS = RNG.random((6, 2, 3))
GIVEN: dict[Task, tuple[Any, Any]] = {
    "single_label": (RNG.normal(size=(6, 3)), np.array([0, 1, 2, 0, 1, 2])),
    "multi_label": (RNG.normal(size=(6, 3)), RNG.integers(0, 2, (6, 3))),
    "regression": (RNG.normal(size=(6, 1)), RNG.normal(size=(6, 1)).astype(np.float32)),
    "reconstruction": (INPUTS + RNG.normal(size=INPUTS.shape), np.array([0, 1, 0, 1, 0, 1])),
    "next_token": (RNG.uniform(1, 9, (6, 2)), RNG.integers(1, 9, 6)),
    "masked_token": (RNG.uniform(1, 9, (6, 2)), RNG.integers(1, 9, 6)),
}


@pytest.mark.parametrize("task", get_args(Task))
def test_every_metric_of_a_task_is_a_plug_in_that_budgets_can_limit(task: Task) -> None:
    outputs, labels = GIVEN[task]
    found = score_all(task, outputs=outputs, labels=labels, inputs=INPUTS)
    assert tuple(each.metric for each in found) == metrics_of(task)
    assert {each.metric for each in found} <= set(registry.names("metrics")) & set(units.METRICS)
    for each in found:
        assert len(each.samples) == (3 if each.metric == "reconstruction_error" else 6)
        assert bool(each.labels) == (units.METRICS[each.metric].estimator in ("area", "rank", "perplexity", "bits"))


def test_the_first_metric_is_the_one_that_choices_are_made_by() -> None:
    first = ["accuracy", "f1", "mean_squared_error", "auc", "perplexity", "perplexity"]
    assert [metrics_of(task)[0] for task in get_args(Task)] == first


def test_every_plug_in_belongs_to_a_task() -> None:
    assert {name for task in get_args(Task) for name in metrics_of(task)} == set(registry.names("metrics"))


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        ([0, 0, 0, 0], ("reconstruction_error",)),
        ([0, 0, 0, 1], ("reconstruction_error",)),
        ([0, 0, 1, 1], ("auc", "reconstruction_error")),
        ([1, 1, 1, 1], ()),
    ],
)
def test_an_area_needs_both_kinds_and_a_reconstruction_normal_samples(
    labels: list[int], names: tuple[str, ...]
) -> None:
    assert metrics_of("reconstruction", np.array(labels)) == names


@pytest.mark.parametrize(
    ("labels", "is_ranked"),
    [
        ([[1.0], [2.0], [3.0], [3.0]], True),
        ([[1.0], [2.0], [3.0]], False),
        ([[1.0]] * 9, False),
        ([[1.0, 2.0]] * 9, False),
    ],
)
def test_an_order_needs_one_output_and_values_that_vary(labels: list[list[float]], is_ranked: bool) -> None:
    names = metrics_of("regression", np.array(labels))
    assert names == ("mean_squared_error", "mean_absolute_error", *["spearman"] * is_ranked)


def test_a_reconstruction_is_judged_by_normal_samples_and_anomalies_by_their_scores() -> None:
    inputs = np.zeros((4, 2))
    outputs = np.array([[0.0, 0.0], [1.0, 1.0], [2.0, 2.0], [3.0, 3.0]])
    labels = np.array([0, 1, 0, 1])
    area, error = score_all("reconstruction", outputs=outputs, labels=labels, inputs=inputs)
    assert area == Scores(metric="auc", samples=(0.0, 1.0, 4.0, 9.0), labels=(0.0, 1.0, 0.0, 1.0))
    assert area.value == 0.75
    assert error == Scores(metric="reconstruction_error", samples=(0.0, 4.0))
    assert error.value == 2.0


def test_better_is_higher_for_shares_and_lower_for_errors() -> None:
    for task in get_args(Task):
        for name in metrics_of(task):
            is_error = "error" in name or name in ("perplexity", "bits_per_byte")
            assert better(name, 0.2, 0.1) != is_error
            assert better(name, 0.1, 0.2) == is_error
            assert not better(name, 0.1, 0.1)


def test_outputs_and_labels_must_be_as_many() -> None:
    with pytest.raises(DataError, match="3 outputs but 2 labels"):
        score_all("single_label", outputs=np.zeros((3, 2)), labels=np.zeros(2, int))
    with pytest.raises(DataError, match="0 outputs but 0 labels"):
        score_all("single_label", outputs=np.zeros((0, 2)), labels=np.zeros(0, int))


def test_naming_metrics_loads_neither_numpy_nor_scipy() -> None:
    program = (
        "import sys; from edgekd.metrics import better, metrics_of; metrics_of('regression'); better('f1', 1, 0);"
        "print(*[name for name in ('numpy', 'scipy', 'torch') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == ""
