"""Llama in two parts against transformers' own forward, and what can't be built."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from edgekd.errors import ConfigError, DataError
from edgekd.frameworks.writing import generate
from edgekd.networks import llama
from edgekd.records import Tokens

transformers = pytest.importorskip("transformers")


def built(**options: object) -> Any:
    torch.manual_seed(0)
    network = llama.build(classes=40, input_shape=(24,), layers=2, hidden=32, heads=4, kv_heads=2, **options)  # type: ignore[arg-type]
    return network.eval()


def test_its_parts_are_transformers_own_forward() -> None:
    network = built()
    tokens = torch.randint(0, 40, (3, 24))
    with torch.inference_mode():
        theirs = network.network(input_ids=tokens).logits
        torch.testing.assert_close(network(tokens.float()), theirs)
        torch.testing.assert_close(network.head(network.hidden(tokens)), theirs)
    assert network.network.lm_head.weight is network.network.model.embed_tokens.weight


def test_what_it_writes_is_what_transformers_writes() -> None:
    network = built()
    prompts = torch.randint(0, 40, (2, 5))
    theirs = network.network.generate(
        prompts, max_length=24, do_sample=False, use_cache=True, eos_token_id=None, pad_token_id=0
    )
    assert torch.equal(generate(network, prompts, 24, temperature=0.0), theirs)


def test_no_position_looks_ahead_or_at_the_pad() -> None:
    network = built(tokens=Tokens(vocabulary=40, pad=0))
    tokens = torch.randint(1, 40, (1, 24))
    padded = tokens.clone()
    padded[:, 12:] = 0
    with torch.inference_mode():
        torch.testing.assert_close(network(tokens)[:, :12], network(padded)[:, :12])


def test_it_can_be_copied_after_it_was_used() -> None:
    network = built()
    tokens = torch.randint(0, 40, (1, 24))
    with torch.inference_mode():
        torch.testing.assert_close(copy.deepcopy(network)(tokens), network(tokens))


def test_what_can_not_be_built() -> None:
    with pytest.raises(ConfigError, match=r"hidden a multiple of 2 \* heads"):
        built(intermediate=8) and llama.build(classes=40, input_shape=(24,), hidden=30, heads=4)
    with pytest.raises(ConfigError, match="layers = 0"):
        llama.build(classes=40, input_shape=(24,), layers=0)
    with pytest.raises(DataError, match="text_stream"):
        llama.build(classes=40, input_shape=(3, 8, 8))
