"""What positions predict, and losses in chunks: the same as all at once, in less memory."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from scipy.special import log_softmax

from edgekd import registry
from edgekd.records import Tokens
from edgekd.stages.distill.positions import (
    Said,
    by_rows,
    mask_tokens,
    nats_of,
    next_tokens,
    places_of,
)

TOKENS = Tokens(vocabulary=50, pad=0, begin=1, end=2, mask=3)


def texts(count: int = 64, length: int = 40) -> torch.Tensor:
    return torch.randint(4, 50, (count, length), generator=torch.Generator().manual_seed(0))


def test_a_position_predicts_the_token_after_it() -> None:
    inputs = torch.tensor([[1, 5, 6, 0, 0], [1, 5, 6, 7, 8]])
    assert next_tokens(inputs.float(), 0).tolist() == [[5, 6, -1, -1, -1], [5, 6, 7, 8, -1]]
    assert next_tokens(inputs, None)[0].tolist() == [5, 6, 0, 0, -1]


def test_masks_are_those_of_bert_and_the_same_for_a_sample_in_any_batch() -> None:
    inputs = texts(400)
    inputs[:, 0], inputs[:, -1] = 1, 2
    indices = torch.arange(400)
    hidden, labels = mask_tokens(inputs, TOKENS, seed=1, view=2, indices=indices)
    guessed = labels >= 0
    assert not guessed[:, [0, -1]].any()
    assert guessed.any(dim=1).all()
    assert torch.equal(labels[guessed], inputs[guessed])
    assert torch.equal(hidden[~guessed], inputs[~guessed])
    assert float(guessed[:, 1:-1].float().mean()) == pytest.approx(0.15, abs=0.01)
    assert float((hidden[guessed] == 3).float().mean()) == pytest.approx(0.8, abs=0.03)
    assert float((hidden[guessed] == inputs[guessed]).float().mean()) == pytest.approx(0.1, abs=0.03)
    some = torch.tensor([7, 300])
    again = mask_tokens(inputs[some], TOKENS, seed=1, view=2, indices=some)
    assert torch.equal(again[0], hidden[some])
    assert not torch.equal(mask_tokens(inputs, TOKENS, seed=1, view=3, indices=indices)[1], labels)


def test_a_text_of_one_word_has_something_to_guess() -> None:
    inputs = torch.tensor([[1, 9, 2, 0, 0]])
    for view in range(20):
        _, labels = mask_tokens(inputs, TOKENS, seed=0, view=view, indices=torch.tensor([0]))
        assert labels.tolist() == [[-1, 9, -1, -1, -1]]


@pytest.mark.parametrize("name", ["cross_entropy", "kl", "dkd", "reverse_kl", "jensen_shannon", "skew_kl"])
@pytest.mark.parametrize("chunk", [1, 350, 10**9])
def test_chunks_give_the_loss_and_the_gradients_of_all_rows_at_once(name: str, chunk: int) -> None:
    torch.manual_seed(0)
    loss = registry.function("losses", name)
    takes = registry.passed("losses", name)
    hidden = torch.randn(3, 7, 8, dtype=torch.float64, requires_grad=True)
    head = torch.nn.Linear(8, 50).double()
    teacher = torch.randn(3 * 7, 50, dtype=torch.float64)
    labels = next_tokens(texts(3, 7), 0)
    places = places_of(labels)
    given = {
        "student": head(hidden).flatten(0, 1)[places],
        "teacher": teacher[places],
        "labels": labels.flatten()[places],
    }
    whole = loss(**{key: value for key, value in given.items() if key in takes})
    wanted = torch.autograd.grad(whole, [hidden, *head.parameters()])

    def judge(
        student: torch.Tensor, said: torch.Tensor | None, wanted: torch.Tensor, _: torch.Tensor | None
    ) -> list[torch.Tensor]:
        there = {"student": student.double(), "teacher": said, "labels": wanted}
        return [loss(**{key: value for key, value in there.items() if key in takes})]

    (found,) = by_rows(
        judge,
        [True],
        # Rows become float32 in the loop; here the rounding would hide what is wrong.
        head=lambda rows: _Kept(head(rows)),  # type: ignore[arg-type, return-value]
        hidden=hidden,
        said=Said(rows=lambda span: teacher[places[span]]),
        labels=labels,
        vocabulary=50,
        chunk=chunk,
    )
    torch.testing.assert_close(found, whole)
    for one, other in zip(torch.autograd.grad(found, [hidden, *head.parameters()]), wanted, strict=True):
        torch.testing.assert_close(one, other)


class _Kept:
    """Logits that stay in float64."""

    def __init__(self, logits: torch.Tensor) -> None:
        self.logits = logits

    def float(self) -> torch.Tensor:
        return self.logits


def test_what_a_teacher_does_not_know_counts_for_nobody() -> None:
    torch.manual_seed(0)
    hidden, teacher = torch.randn(2, 5, 4), torch.randn(8, 4)
    known = torch.tensor([True, False, True, True, False, False, False, True])
    labels = next_tokens(texts(2, 5) % 4, None)
    kl = registry.function("losses", "kl")

    def judge(
        student: torch.Tensor, said: torch.Tensor | None, _: torch.Tensor, here: torch.Tensor | None
    ) -> list[torch.Tensor]:
        assert said is not None
        assert here is not None
        taught = kl(student=student[here], teacher=said[here]) if here.any() else student.sum() * 0
        return [taught, student.mean()]

    found = by_rows(
        judge,
        [True, False],
        head=torch.nn.Identity(),
        hidden=hidden,
        said=Said(rows=lambda span: teacher[span], known=known),
        labels=labels,
        vocabulary=4,
        chunk=12,
    )
    rows = hidden.flatten(0, 1)[places_of(labels)]
    torch.testing.assert_close(found[0], kl(student=rows[known], teacher=teacher[known]))
    torch.testing.assert_close(found[1], rows.mean())


def test_nats_are_those_of_the_formula() -> None:
    torch.manual_seed(0)
    hidden, labels = torch.randn(4, 6, 9), next_tokens(texts(4, 6) % 9, 0)
    found = nats_of(hidden, torch.nn.Identity(), labels, 9).numpy()
    logs = log_softmax(hidden.double().numpy(), axis=2)
    for sample in range(4):
        places = [place for place in range(6) if labels[sample, place] >= 0]
        nats = -sum(logs[sample, place, int(labels[sample, place])] for place in places)
        np.testing.assert_allclose(found[sample], [nats, len(places)], rtol=1e-6)


PEAK = """
import resource, sys, torch
from edgekd.stages.distill.positions import Said, by_rows
from torch.nn import functional
torch.set_num_threads(1)
vocabulary = int(sys.argv[1])
torch.manual_seed(0)
hidden = torch.randn(1, 256, 8, requires_grad=True)
heads = [torch.randn(vocabulary, 8, requires_grad=learns) for learns in (True, False)]
labels = torch.randint(0, vocabulary, (1, 256))
rows = hidden.detach().flatten(0, 1)
def judge(student, teacher, labels, known):
    return [functional.kl_div(student.log_softmax(1), teacher.log_softmax(1), reduction="batchmean", log_target=True)]
def step():
    (loss,) = by_rows(judge, [True], head=lambda h: h @ heads[0].T, hidden=hidden,
        said=Said(rows=lambda span: rows[span] @ heads[1].T), labels=labels, vocabulary=vocabulary)
    loss.backward()
weights = 4 * heads[0].numel()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before - 3 * weights)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_vocabulary() -> None:
    """Beside the head's own gradient: 256 positions of 131,072 tokens are 128 MiB of logits, at least five times."""
    peaks = [
        int(subprocess.run([sys.executable, "-c", PEAK, str(size)], check=True, capture_output=True).stdout)
        for size in (32_768, 131_072)
    ]
    assert peaks[1] < 1.3 * peaks[0], peaks
    assert peaks[1] < 350 * 2**20, peaks
