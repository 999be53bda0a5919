"""Teachers of other tokens: asked where both have read the same text, and nowhere else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from edgekd.datasets import Dataset, Split
from edgekd.datasets._tokenizers import read_tokenizer, tokens_of, train_tokenizer
from edgekd.errors import ConfigError
from edgekd.records import DistillSpec, LossTerm, Tokens, WritingSpec
from edgekd.stages.distill import OtherTokens, distill
from edgekd.stages.distill.positions import nats_of, next_tokens
from tests.stages.distill.texts import Causal

pytest.importorskip("tokenizers")

LINES = [f"The cat no. {number} saw {number * 7 % 13} birds — café." for number in range(200)]
LENGTH = 24


def tokens(vocabulary: int) -> Tokens:
    return tokens_of(train_tokenizer(LINES, kind="bpe", vocabulary=vocabulary), padded=False)


@pytest.fixture(scope="module")
def data() -> Dataset:
    """Windows of lines that follow one another, each after what ends the one before."""
    own = tokens(270)
    numbers = [token for each in read_tokenizer(own.tokenizer).encode_batch(LINES) for token in each.ids]
    windows = np.array(numbers[: len(numbers) // LENGTH * LENGTH], np.int32).reshape(-1, LENGTH)
    parts = [
        Split(inputs=each, labels=np.full(len(each), LENGTH)) for each in (windows[:64], windows[64:80], windows[80:96])
    ]
    return Dataset(
        classes=(), scale=1.0, train=parts[0], validation=parts[1], test=parts[2], task="next_token", tokens=own
    )


@pytest.fixture(scope="module")
def teacher(data: Dataset) -> OtherTokens:
    own = tokens(300)
    assert data.tokens is not None
    return OtherTokens(Causal(16, own.vocabulary, seed=1), own, data.tokens).eval()


def test_positions_are_those_where_both_have_read_the_same_text(data: Dataset, teacher: OtherTokens) -> None:
    ours, theirs = read_tokenizer(data.tokens.tokenizer), read_tokenizer(teacher.own.tokenizer)  # type: ignore[union-attr]
    end = theirs.token_to_id("<|endoftext|>")
    found = 0
    for window in data.train.inputs[:16]:
        # The teacher's tokens of each line, and what it has read by each of them.
        read: list[str] = []
        ids: list[int] = []
        for number, part in enumerate(ours.decode(window.tolist(), skip_special_tokens=False).split("<|endoftext|>")):
            cut = theirs.encode(part, add_special_tokens=False).ids
            ids += [end, *cut] if number else cut
        read = [theirs.decode(ids[: place + 1], skip_special_tokens=False) for place in range(len(ids))]
        inputs = torch.from_numpy(window)[None].float()
        known, hidden = teacher.known(inputs)[0], teacher.hidden(inputs)[0]
        states = teacher.teacher.hidden(torch.tensor([ids]))[0]
        for place in range(LENGTH):
            text = ours.decode(window[: place + 1].tolist(), skip_special_tokens=False)
            whole = text in read and not text.endswith("\N{REPLACEMENT CHARACTER}")
            assert bool(known[place]) == whole, (text, read)
            if whole:
                found += 1
                torch.testing.assert_close(hidden[place], states[read.index(text)])
            else:
                assert not hidden[place].any()
    assert 0.3 < found / (16 * LENGTH) < 0.95


def test_a_teacher_of_the_same_tokens_says_what_it_says(data: Dataset) -> None:
    assert data.tokens is not None
    network = Causal(16, data.outputs, seed=1).eval()
    same = OtherTokens(network, data.tokens, data.tokens)
    # Whole words: of other windows the first token may be half of one.
    inputs = torch.from_numpy(read_lines(data)).float()
    assert same.known(inputs).all()
    torch.testing.assert_close(same.hidden(inputs), network.hidden(inputs))
    labels = next_tokens(inputs, None)
    torch.testing.assert_close(
        same.nats(inputs, labels), nats_of(network.hidden(inputs), network.head, labels, data.outputs)
    )


def read_lines(data: Dataset) -> np.ndarray:
    """Windows that begin with a line, without signs that are several bytes."""
    assert data.tokens is not None
    lines = [line.split(" —")[0] for line in LINES]
    cut = [each.ids for each in read_tokenizer(data.tokens.tokenizer).encode_batch(lines)]
    shortest = min(len(each) for each in cut)
    return np.array([each[: shortest - 1] for each in cut[:8]], np.int32)


SPEC = DistillSpec(
    epochs=3, batch_size=16, optimizer="adamw", learning_rate=0.01, mixed_precision="off", weak_teachers="warn"
)
ULD = LossTerm(name="uld")


def test_a_student_learns_of_it_by_uld(data: Dataset, teacher: OtherTokens) -> None:
    spec = replace(SPEC, losses=(ULD, LossTerm(name="cross_entropy")))
    taught = distill(Causal(8, data.outputs), data=data, teachers=[teacher], spec=spec)
    alone = distill(Causal(8, data.outputs), data=data, spec=replace(spec, losses=spec.losses[1:]))
    assert taught.score < data.outputs
    assert taught.teaching is not None
    assert not taught.teaching.caches
    assert any(
        not torch.equal(one, other)
        for one, other in zip(taught.network.parameters(), alone.network.parameters(), strict=True)
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"losses": (LossTerm(name="kl"),)},
            "student: losses: loss 'kl' compares the same tokens, and the teacher has others than the data; give",
        ),
        ({"losses": (LossTerm(name="kl"),)}, "give the data the teacher's tokenizer, or take loss 'uld'"),
        ({"cache": "on"}, "student: cache: no cache holds what a teacher says of other tokens"),
        ({"generation": WritingSpec(samples=8)}, "student: generation.samples: the teacher writes other tokens"),
    ],
)
def test_what_it_can_not_teach(data: Dataset, teacher: OtherTokens, change: dict[str, object], message: str) -> None:
    spec = replace(replace(SPEC, losses=(ULD,)), **change)  # type: ignore[arg-type]  # as the cases say
    with pytest.raises(ConfigError) as error:
        distill(Causal(8, data.outputs), data=data, teachers=[teacher], spec=spec)
    assert message in str(error.value)


def test_two_of_which_one_has_other_tokens(data: Dataset, teacher: OtherTokens) -> None:
    pair: list[nn.Module] = [teacher, Causal(8, data.outputs, seed=2)]
    with pytest.raises(ConfigError, match="2 teachers, one of which has other tokens; take one alone"):
        distill(Causal(8, data.outputs), data=data, teachers=pair, spec=replace(SPEC, losses=(ULD,)))
