"""What costs hours when it is found late is found first, and all at once."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from edgekd.datasets import Dataset, Split
from edgekd.errors import ConfigError, DataError, ModelError
from edgekd.records import AugmentationTerm, DistillSpec, LossTerm, Tokens
from edgekd.stages.distill.preflight import check_data, check_network, check_spec, check_steady
from edgekd.stages.distill.terms import Term, load_terms

Make = Callable[..., nn.Module]
CPU = torch.device("cpu")


class Speechless(nn.Module):
    """Fails without a word."""

    def forward(self, _: torch.Tensor) -> torch.Tensor:
        raise ValueError


class Returns(nn.Module):
    """Gives what it is told to."""

    def __init__(self, result: object) -> None:
        super().__init__()
        self.result = result

    def forward(self, _: torch.Tensor) -> object:
        return self.result


@pytest.mark.parametrize(
    ("network", "error", "words"),
    [
        (Speechless(), DataError, "does not take inputs of shape (1, 4, 4): ValueError"),
        (nn.Linear(3, 4), DataError, "mat1 and mat2 shapes cannot be multiplied"),
        (nn.Identity(), ModelError, "the network gives (2, 1, 4, 4); allowed: outputs of shape (batch, numbers)"),
        (Returns((torch.zeros(2, 4),)), ModelError, "the network gives tuple"),
        (Returns(torch.zeros(2, 5)), ModelError, "the network has 5 classes, the data 4"),
        (Returns(torch.full((2, 4), torch.nan)), ModelError, "the network's outputs are not finite"),
    ],
)
def test_networks_that_do_not_fit_say_why_in_one_line(
    data: Dataset, network: nn.Module, error: type[Exception], words: str
) -> None:
    with pytest.raises(error) as caught:
        check_network(network, data, "own", CPU)
    assert str(caught.value).startswith("own: ")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("training", [True, False])
def test_a_look_leaves_the_network_as_it_was(data: Dataset, make: Make, training: bool) -> None:
    network = make().train(training)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    check_network(network, data, "own", CPU)
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())
    assert {module.training for module in network.modules()} == {training}


class AlwaysTraining(nn.Module):
    """What `eval()` does not reach."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        outputs: torch.Tensor = self.network.train()(inputs)
        return outputs


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_a_teacher_that_stays_in_training_mode_is_refused(data: Dataset, make: Make, dropout: float) -> None:
    network = make(dropout=dropout)
    check_steady(network.eval(), data, "own", CPU)
    with pytest.raises(ModelError, match=r"^own: the teacher's outputs for a sample change by .* in training mode"):
        check_steady(AlwaysTraining(network).eval(), data, "own", CPU)


CE = LossTerm(name="cross_entropy")


def plain(*, student: torch.Tensor, labels: torch.Tensor, temperature: float = 1.0) -> torch.Tensor:
    """Stand in for a loss of the user's own."""
    return functional.cross_entropy(student / temperature, labels)


def terms(*losses: LossTerm) -> list[Term]:
    own = inspect.signature(plain).parameters.keys() & {"student", "labels"}
    return [
        Term(spec=each, loss=plain, inputs=frozenset(own)) if ":" in each.name else load_terms([each])[0]
        for each in losses
    ]


@pytest.mark.parametrize(
    ("spec", "losses", "words"),
    [
        ({"epochs": 0}, (CE,), "own: epochs: 0; allowed: greater than or equal to 1"),
        ({"batch_size": -1}, (CE,), "own: batch_size: -1"),
        ({"learning_rate": 0.0}, (CE,), "own: learning_rate: 0.0; allowed: greater than 0"),
        ({"patience": 0}, (CE,), "own: patience: 0"),
        ({"optimizer": "adam"}, (CE,), "own: optimizer: 'adam'; allowed: 'adamw' or 'sgd'"),
        ({}, (replace(CE, weight=0.0),), "own: losses: their weights do not sum to more than 0"),
        ({}, (), "own: losses: their weights do not sum"),
        ({}, (LossTerm(name="kl"),), "own: losses: loss 'kl' needs a teacher"),
        ({}, (replace(CE, options={"label_smoothing": 1.5}),), "own: losses.label_smoothing: 1.5; allowed: 0 to 1"),
        ({}, (LossTerm(name="a:b", options={"temperature": 0}),), "own: losses.temperature: 0; allowed: above 0"),
        ({}, (LossTerm(name="a:b", options={"temperature": float("nan")}),), "losses.temperature: nan"),
    ],
)
def test_schedules_that_can_t_be_meant_are_refused(
    data: Dataset, spec: dict[str, Any], losses: tuple[LossTerm, ...], words: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        check_spec(DistillSpec(**spec), terms(*losses), data, has_teachers=False, name="own")
    assert words in str(caught.value)
    assert "problems" not in str(caught.value)


def test_tokens_are_not_augmented(data: Dataset) -> None:
    read = replace(data, tokens=Tokens(vocabulary=9))
    spec = DistillSpec(augmentations=(AugmentationTerm(name="mixup"),))
    with pytest.raises(ConfigError, match="own: augmentations: tokens have no values to change or mix; allowed: none"):
        check_spec(spec, terms(CE), read, has_teachers=False, name="own")


def test_every_problem_of_a_schedule_is_said_at_once(data: Dataset) -> None:
    flat = replace(data, train=replace(data.train, inputs=data.train.inputs.reshape(60, 16)))
    spec = DistillSpec(epochs=0, augmentations=(AugmentationTerm(name="flip"),))
    with pytest.raises(ConfigError) as caught:
        check_spec(
            spec, terms(LossTerm(name="kl", options={"temperature": -1.0})), flat, has_teachers=False, name="own"
        )
    assert str(caught.value).startswith("4 problems\n")
    assert "own: augmentations: inputs of shape (16,) are no images" in str(caught.value)


def test_what_is_fine_passes(data: Dataset) -> None:
    losses = (LossTerm(name="kl", weight=0.0), CE, LossTerm(name="a:b"))
    check_spec(DistillSpec(patience=3), terms(*losses), data, has_teachers=True, name="own")
    check_data(data, data.train)


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ([0, 1, 4], "labels from 0 to 4 for 4 classes"),
        ([0, 1, -2], "labels from -2 to 1 for 4 classes"),
        ([0.0, 1.0, 2.0], "labels of type float64"),
        ([0, 1], "3 inputs but 2 labels"),
    ],
)
def test_one_s_own_arrays_are_checked(data: Dataset, labels: list[Any], words: str) -> None:
    refuse_both(data, Split(inputs=data.train.inputs[:3], labels=np.array(labels)), words)


def test_empty_splits_are_refused(data: Dataset) -> None:
    refuse_both(data, data.train.take(np.zeros(60, bool)), "empty")


def test_samples_without_labels_may_be_learned_from_but_choose_nothing(data: Dataset) -> None:
    unlabelled = replace(data.train, labels=np.full(60, -1))
    check_data(data, unlabelled)
    with pytest.raises(DataError, match="data: validation split: samples without labels; allowed: a label for each"):
        check_data(replace(data, validation=unlabelled), data.train)


def refuse_both(data: Dataset, split: Split, words: str) -> None:
    for name, broken in (("training", replace(data, train=split)), ("validation", replace(data, validation=split))):
        with pytest.raises(DataError) as caught:
            check_data(broken, broken.train)
        assert str(caught.value).startswith(f"data: {name} split: ")
        assert words in str(caught.value)
