"""BERT with a head for masked tokens against transformers' own forward."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from edgekd.errors import ConfigError, DataError
from edgekd.networks import bert_masked
from edgekd.records import Tokens

pytest.importorskip("transformers")


def test_its_parts_are_transformers_own_forward() -> None:
    network: Any = bert_masked.build(
        classes=40, input_shape=(24,), tokens=Tokens(vocabulary=40, pad=0), layers=1, hidden=16, heads=2
    ).eval()
    tokens = torch.randint(1, 40, (3, 24))
    tokens[:, 20:] = 0
    with torch.inference_mode():
        theirs = network.network(input_ids=tokens, attention_mask=(tokens != 0).long()).logits
        torch.testing.assert_close(network(tokens.float()), theirs)
        torch.testing.assert_close(network.head(network.hidden(tokens)), theirs)


def test_what_can_not_be_built() -> None:
    for options, message in (({"heads": 3}, "a multiple of heads"), ({"dropout": 1.0}, "dropout = 1")):
        with pytest.raises(ConfigError, match=message):
            bert_masked.build(classes=40, input_shape=(24,), **options)
    with pytest.raises(DataError, match="the data has shape"):
        bert_masked.build(classes=40, input_shape=(3, 8, 8))
