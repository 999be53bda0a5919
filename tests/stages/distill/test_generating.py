"""Language models taught from end to end: by a teacher's logits, its texts, and what it says of the student's own."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from edgekd.cache import cache_folders
from edgekd.errors import ConfigError, ModelError, StoreError
from edgekd.progress import Silent
from edgekd.records import DistillSpec, LossTerm, WritingSpec
from edgekd.stages.distill import distill
from edgekd.stages.distill.generating import written_by
from edgekd.stages.distill.teachers import teacher_of
from tests.stages.distill.texts import LENGTH, VOCABULARY, Causal, texts

SPEC = DistillSpec(
    epochs=2, batch_size=16, optimizer="adamw", learning_rate=0.01, weight_decay=0.0, mixed_precision="off"
)
KL = LossTerm(name="kl", options={"temperature": 1.0})


@pytest.fixture(scope="module")
def teacher() -> nn.Module:
    spec = replace(SPEC, epochs=12, learning_rate=0.02)
    return distill(Causal(32), data=texts(count=512), spec=spec).network


def weights(network: nn.Module) -> torch.Tensor:
    return torch.cat([each.detach().flatten() for each in network.parameters()])


def test_a_language_model_learns_and_says_so_in_perplexity(teacher: nn.Module) -> None:
    alone = distill(Causal(8), data=texts(), spec=SPEC)
    taught = distill(Causal(8), data=texts(), teachers=[teacher], spec=replace(SPEC, epochs=6))
    assert taught.history[0].metric == "perplexity"
    assert taught.score < alone.score < VOCABULARY
    assert taught.teaching is not None
    assert taught.teaching.scores["teacher-0"] < taught.score


def test_a_cache_of_all_positions_teaches_as_the_teacher_does(teacher: nn.Module) -> None:
    spec = replace(SPEC, losses=(KL,))
    live = distill(Causal(8), data=texts(), teachers=[teacher], spec=replace(spec, cache="off"))
    kept = distill(Causal(8), data=texts(), teachers=[teacher], spec=replace(spec, cache="on"))
    # float16.
    torch.testing.assert_close(weights(kept.network), weights(live.network), rtol=0, atol=5e-3)
    assert kept.teaching is not None
    assert kept.teaching.caches[0].samples == 96 * LENGTH
    assert kept.teaching.caches[0].error < 0.02
    assert len(cache_folders()) == 1


@pytest.mark.parametrize("generation", [WritingSpec(on_policy=0.5), WritingSpec(samples=40, prompt=0, top_p=0.9)])
def test_what_networks_write_is_the_same_in_every_run(teacher: nn.Module, generation: WritingSpec) -> None:
    spec = replace(SPEC, losses=(KL,), generation=generation)
    one, two = (distill(Causal(8), data=texts(), teachers=[teacher], spec=spec) for _ in range(2))
    assert torch.equal(weights(one.network), weights(two.network))
    plain = distill(Causal(8), data=texts(), teachers=[teacher], spec=replace(spec, generation=None, cache="off"))
    assert not torch.equal(weights(one.network), weights(plain.network))


def test_a_killed_training_goes_on_with_the_same_texts(teacher: nn.Module, tmp_path: Path) -> None:
    spec = replace(SPEC, losses=(KL,), generation=WritingSpec(on_policy=0.5, samples=40), schedule="constant")
    whole = distill(Causal(8), data=texts(), teachers=[teacher], spec=spec, folder=tmp_path / "whole")

    class Killed(Silent):
        def advance(self, steps: int = 1) -> None:
            self.seen = getattr(self, "seen", 0) + steps
            if self.seen > 40 + 3:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        distill(Causal(8), data=texts(), teachers=[teacher], spec=spec, folder=tmp_path / "cut", progress=Killed())
    again = distill(Causal(8), data=texts(), teachers=[teacher], spec=spec, folder=tmp_path / "cut")
    assert torch.equal(weights(again.network), weights(whole.network))


def test_texts_of_a_teacher_are_kept_and_read_again(teacher: nn.Module, tmp_path: Path) -> None:
    named = teacher_of(teacher, name="teacher", weight=1.0, outputs=VOCABULARY)
    spec, data = WritingSpec(samples=300, prompt=2), texts()
    first = written_by(named, spec, data, folder=tmp_path, progress=Silent(), device=torch.device("cpu"))
    assert first.inputs.shape == (300, LENGTH)
    assert np.array_equal(first.inputs[:, :2], np.resize(data.train.inputs[:, :2], (300, 2)))
    parts = sorted(tmp_path.rglob("*.tokens"))
    assert len(parts) == 2
    parts[1].unlink()
    again = written_by(named, spec, data, folder=tmp_path, progress=Silent(), device=torch.device("cpu"))
    assert np.array_equal(first.inputs, again.inputs)
    parts[0].write_bytes(parts[0].read_bytes()[:-1])
    with pytest.raises(StoreError, match="damaged"):
        written_by(named, spec, data, folder=tmp_path, progress=Silent(), device=torch.device("cpu"))


def test_masked_tokens_are_learned_too() -> None:
    class Both(Causal):
        def __init__(self, width: int) -> None:
            super().__init__(width)
            self.body = nn.GRU(width, width // 2, batch_first=True, bidirectional=True)

    found = distill(Both(16), data=texts("masked_token"), spec=replace(SPEC, epochs=4))
    assert found.history[-1].validation_score < found.history[0].validation_score < 1.5 * VOCABULARY
    taught = distill(
        Both(16), data=texts("masked_token"), teachers=[found.network], spec=replace(SPEC, weak_teachers="warn")
    )
    assert taught.teaching is not None
    assert taught.teaching.caches[0].views == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"generation": WritingSpec(prompt=LENGTH)}, "generation.prompt"),
        ({"generation": WritingSpec(on_policy=0.5), "cache": "on"}, "no cache holds what the student will write"),
        ({"cache_draws": True, "losses": (LossTerm(name="reverse_kl"),)}, "needs all logits"),
        ({"losses": (LossTerm(name="dist"),)}, "loss 'dist' is not for the task next_token"),
        ({"compile": True}, "compile"),
    ],
)
def test_what_can_not_be_meant(teacher: nn.Module, change: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        distill(Causal(8), data=texts(), teachers=[teacher], spec=replace(SPEC, **change))  # type: ignore[arg-type]


def test_a_network_of_other_tasks_or_tokens_is_refused() -> None:
    with pytest.raises(ModelError, match=r"predicts no tokens.*such as llama"):
        distill(nn.Linear(LENGTH, VOCABULARY), data=texts(), spec=SPEC)
    with pytest.raises(ModelError, match="has 20 tokens, the data 12"):
        distill(Causal(8), data=texts(), teachers=[Causal(8, vocabulary=20)], spec=SPEC)
    with pytest.raises(ModelError, match="saying the same of every sample"):
        distill(Causal(8), data=texts(), teachers=[copy.deepcopy(Causal(8, seed=3))], spec=SPEC)
