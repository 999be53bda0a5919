"""A text read from both ends: against two LSTMs of torch on texts without padding."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from edgekd.networks import text_bilstm
from edgekd.records import Tokens

SMALL: dict[str, Any] = {"classes": 3, "input_shape": (8,), "tokens": Tokens(vocabulary=60, pad=0), "hidden": 6}


@pytest.mark.parametrize("buckets", [None, 20])
@pytest.mark.parametrize("length", [1, 3, 8])
def test_padding_changes_nothing(buckets: int | None, length: int) -> None:
    torch.manual_seed(length)
    network = text_bilstm.build(**SMALL, buckets=buckets).eval()
    text = torch.randint(1, 60, (2, length))
    filled = torch.cat([text, torch.zeros(2, 8 - length, dtype=torch.int64)], dim=1)
    torch.testing.assert_close(network(filled), network(text))
    torch.testing.assert_close(network(filled.float()), network(text))


def test_equals_an_lstm_from_each_end() -> None:
    torch.manual_seed(0)
    network = text_bilstm.build(**SMALL, embedding=5).eval()
    lstm: Any = network.get_submodule("lstm")
    ends = [torch.nn.LSTM(5, 6, batch_first=True, bias=False) for _ in range(2)]
    for end, suffix in zip(ends, ("", "_reverse"), strict=True):
        end.load_state_dict({name: getattr(lstm, name + suffix) for name in ("weight_ih_l0", "weight_hh_l0")})
    text = torch.tensor([[7, 3, 9, 11]])
    words = network.get_submodule("embedding")(text)
    states = torch.cat([ends[0](words)[0], ends[1](words.flip(1))[0].flip(1)], dim=2)
    wanted = network.get_submodule("linear")(states.max(dim=1).values)
    torch.testing.assert_close(network(torch.cat([text, torch.zeros_like(text)], dim=1)), wanted)


def test_it_learns_which_of_two_words_comes_first() -> None:
    torch.manual_seed(0)
    network = text_bilstm.build(**{**SMALL, "classes": 2}, dropout=0.0)
    optimizer = torch.optim.Adam(network.parameters(), 0.02)
    texts = torch.randint(3, 60, (64, 8))
    labels = torch.arange(64) % 2
    texts[:, 2], texts[:, 5] = 1 + labels, 2 - labels
    for _ in range(60):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(network(texts), labels).backward()  # type: ignore[no-untyped-call]  # torch's stubs
        optimizer.step()
    assert (network(texts).argmax(1) == labels).float().mean() > 0.95
