"""Several teachers put together, and teachers made for other inputs and outputs: against NumPy in float64."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax, softmax
from scipy.stats import entropy
from torch import nn

from edgekd.cache import CacheManifest, TeacherCache
from edgekd.datasets import Dataset
from edgekd.errors import ModelError
from edgekd.records import TeacherSpec
from edgekd.stages.distill.teaching import AdaptedTeacher, CachedTeachers, LiveTeachers, combine
from edgekd.stages.distill.views import Batch

Make = Callable[..., nn.Module]
SHARES = st.lists(st.floats(0.01, 100), min_size=2, max_size=4)


def batch_of(inputs: torch.Tensor, indices: torch.Tensor | None = None, view: int = 0) -> Batch:
    places = torch.arange(len(inputs)) if indices is None else indices
    return Batch(inputs=inputs, labels=places, indices=places, positions=places, view=view)


# --- several teachers ----------------------------------------------------------------------------


@settings(deadline=None, max_examples=40)
@given(SHARES, st.integers(2, 20), st.sampled_from([0.1, 2.0, 10.0]), st.integers(0, 99))
def test_means_are_those_that_numpy_computes(shares: list[float], classes: int, spread: float, seed: int) -> None:
    logits = np.random.default_rng(seed).normal(0, spread, (len(shares), 6, classes))
    outputs = [torch.from_numpy(each).float() for each in logits]
    weights = np.array(shares)[:, None, None]
    found = combine(outputs, shares, "logits").double().numpy()
    np.testing.assert_allclose(found, np.average(logits, axis=0, weights=shares), rtol=1e-4, atol=1e-4 * spread)

    found = combine(outputs, shares, "probabilities").double().numpy()
    mean = (weights * softmax(logits, 2)).sum(0) / weights.sum()
    np.testing.assert_allclose(np.exp(found), mean, rtol=2e-4, atol=1e-7)

    sure = np.maximum(1 - entropy(softmax(logits, 2), axis=2) / np.log(classes), 1e-6)[:, :, None] * weights
    found = combine(outputs, shares, "confidence").double().numpy()
    expected = (sure * softmax(logits, 2)).sum(0) / sure.sum(0)
    # Where nobody is sure, 1 - H / log C is what float32's rounding leaves of it.
    tolerance = 2e-4 + 2e-6 * weights.sum() / sure.sum(0)
    assert (np.abs(np.exp(found) - expected) <= tolerance).all()


@pytest.mark.parametrize("how", ["logits", "probabilities", "confidence"])
def test_teachers_that_agree_say_together_what_each_says(how: str) -> None:
    torch.manual_seed(0)
    logits = torch.randn(5, 7)
    together = combine([logits, logits.clone(), logits.clone()], [1.0, 2.0, 0.5], how)  # type: ignore[arg-type]
    np.testing.assert_allclose(log_softmax(together.numpy(), 1), log_softmax(logits.numpy(), 1), rtol=1e-4, atol=1e-6)
    assert combine([logits], [3.0], how) is logits  # type: ignore[arg-type]


def test_a_teacher_that_spreads_its_answer_over_all_classes_has_no_say() -> None:
    sure, unsure = torch.tensor([[5.0, 0, 0]]), torch.zeros(1, 3)
    assert softmax(combine([sure, unsure], [1, 1], "probabilities").numpy(), 1)[0, 0] < 0.7
    np.testing.assert_allclose(combine([sure, unsure], [1, 10], "confidence"), log_softmax(sure, 1), atol=2e-3)
    nobody = combine([unsure, unsure], [1, 3], "confidence")
    np.testing.assert_allclose(softmax(nobody.numpy(), 1), 1 / 3, rtol=1e-5)


def test_live_and_cached_teachers_say_the_same(tmp_path: Path) -> None:
    torch.manual_seed(0)
    inputs = torch.randn(2, 9, 5)  # two views of nine samples
    networks = [nn.Linear(5, 3) for _ in range(2)]
    caches = []
    for index, network in enumerate(networks):
        manifest = CacheManifest(
            teacher=str(index), data="d", depends={}, samples=9, views=2, classes=3, kept=3, precision="fp32"
        )
        cache = TeacherCache.open(tmp_path / str(index), manifest)
        for view, samples in cache.missing():
            cache.write(view, samples, network(inputs[view, samples.start : samples.stop]).detach().numpy())
        caches.append(cache)
    live = LiveTeachers(networks, [1.0, 2.0], "probabilities", mixed=False)
    cached = CachedTeachers(caches, [1.0, 2.0], "probabilities")
    for view in range(2):
        chosen = torch.tensor([8, 0, 3])
        batch = batch_of(inputs[view, chosen], chosen, view)
        found, expected = cached.outputs(batch), live.outputs(batch)
        np.testing.assert_allclose(found, expected, atol=2e-3)
        assert not expected.requires_grad
        assert not expected.is_inference(), "it may be used where gradients flow"


# --- other inputs and outputs --------------------------------------------------------------------


class Echo(nn.Module):
    """Gives what it is given, flat."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs.flatten(1)


def coloured(data: Dataset) -> Dataset:
    return replace(data, train=replace(data.train, inputs=np.repeat(data.train.inputs, 3, axis=1)))


def test_inputs_are_scaled_shifted_and_divided_channel_by_channel(data: Dataset) -> None:
    spec = TeacherSpec(input_scale=255, input_mean=(1.0, 2.0, 3.0), input_std=(4.0, 5.0, 6.0))
    inputs = np.random.default_rng(0).random((2, 3, 4, 4))
    found = AdaptedTeacher(Echo(), spec, coloured(data), "own")(torch.from_numpy(inputs).float())
    mean, std = (np.array(each)[:, None, None] for each in (spec.input_mean, spec.input_std))
    np.testing.assert_allclose(found.reshape(inputs.shape), (inputs * 255 - mean) / std, rtol=1e-4, atol=1e-4)
    one = AdaptedTeacher(Echo(), TeacherSpec(input_mean=(0.5,), input_std=(0.25,)), coloured(data), "own")
    np.testing.assert_allclose(one(torch.from_numpy(inputs).float()), ((inputs - 0.5) / 0.25).reshape(2, -1), rtol=1e-4)


def test_classes_are_put_in_the_data_s_order_and_others_left_out(data: Dataset) -> None:
    spec = TeacherSpec(classes=("x", "d", "a", "y", "c", "b"))
    outputs = torch.arange(12.0).reshape(2, 6)
    found = AdaptedTeacher(Echo(), spec, data, "own")(outputs.reshape(2, 6, 1, 1) * torch.ones(2, 6, 1, 1))
    np.testing.assert_array_equal(found, outputs.numpy()[:, [2, 5, 4, 1]])


def test_probabilities_become_logits(data: Dataset) -> None:
    probabilities = softmax(np.random.default_rng(0).normal(0, 3, (5, 4)), 1)
    probabilities[0] = [1, 0, 0, 0]
    teacher = AdaptedTeacher(Echo(), TeacherSpec(output="probabilities"), data, "own")
    found = teacher(torch.from_numpy(probabilities).float().reshape(5, 4, 1, 1)).double().numpy()
    np.testing.assert_allclose(softmax(found, 1), probabilities, rtol=1e-5, atol=1e-6)
    assert np.isfinite(found).all()


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (
            TeacherSpec(classes=("a", "b", "c")),
            "own: classes: the teacher does not know the class 'd'; allowed: all of a",
        ),
        (TeacherSpec(input_mean=(1.0, 2.0)), "own: input_mean: 2 values for 1 channels; allowed: 1 or 1"),
        (TeacherSpec(input_std=(1.0, 2.0)), "own: input_std: 2 values for 1 channels"),
    ],
)
def test_what_can_t_be_meant_is_refused(data: Dataset, spec: TeacherSpec, words: str) -> None:
    with pytest.raises(ModelError) as caught:
        AdaptedTeacher(Echo(), spec, data, "own")
    assert words in str(caught.value)


def test_it_is_only_wrapped_where_something_is_to_be_done() -> None:
    assert not AdaptedTeacher.is_needed(TeacherSpec(model="mlp", weight=3.0))
    for spec in (
        TeacherSpec(input_scale=2.0),
        TeacherSpec(input_mean=(0.0,)),
        TeacherSpec(input_std=(1.0,)),
        TeacherSpec(classes=("a",)),
        TeacherSpec(output="probabilities"),
    ):
        assert AdaptedTeacher.is_needed(spec)


def test_the_wrapper_adds_nothing_to_the_teacher_s_weights(data: Dataset, quarters: Make) -> None:
    spec = TeacherSpec(classes=("d", "c", "b", "a"), input_mean=(0.5,))
    wrapped = AdaptedTeacher(quarters(), spec, data, "own")
    assert wrapped.state_dict().keys() == {"teacher.last.weight"}
