"""Embeddings that tokens share: which rows they take, and that rounding a table's digits loses none."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from edgekd.networks._embeddings import MAX_BUCKETS, HashedEmbedding
from edgekd.records import Tokens

TOKENS = Tokens(vocabulary=30_522, pad=0)


@pytest.mark.parametrize("buckets", [2, 500, MAX_BUCKETS])
def test_rows_are_those_of_the_hash(buckets: int) -> None:
    made = HashedEmbedding(TOKENS, 1, buckets)
    with torch.no_grad():
        made.table.weight.copy_(torch.arange(buckets)[:, None])
    found = made(torch.arange(30_522)[None])[0, :, 0]
    # Python's own whole numbers have no end.
    wanted = [0] + [1 + (number * 2654435761) % 2**32 % (buckets - 1) for number in range(1, 30_522)]
    assert found.tolist() == wanted


def test_rows_are_shared_evenly() -> None:
    made = HashedEmbedding(TOKENS, 1, 1025)
    rows = (made.high * 127 + made.low).long().flatten()[1:]
    counts = np.bincount(rows.numpy(), minlength=1025)[1:]
    # A Poisson spread would be sqrt(30): a multiplicative hash is more even.
    assert (counts.mean(), counts.std() < 5.5, counts.min() > 10) == (pytest.approx(30_521 / 1024), True, True)


@pytest.mark.parametrize("buckets", [3, 100, 2048, MAX_BUCKETS])
def test_an_int8_table_of_digits_names_the_same_rows(buckets: int) -> None:
    made = HashedEmbedding(TOKENS, 4, buckets).eval()
    tokens = torch.arange(30_522).reshape(6, -1)
    wanted = made(tokens)
    for each in (made.high, made.low):
        scale = float(each.abs().max()) / 127 or 1.0
        each.copy_((each / scale).round().clamp(-128, 127) * scale)
    assert torch.equal(made(tokens), wanted)
