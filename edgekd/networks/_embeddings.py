"""Embeddings of tokens for small networks: a table, or one that tokens share by a hash."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from edgekd.errors import ConfigError
from edgekd.records import Tokens

# Two digits of this base name a bucket: both are whole numbers that int8 holds, whatever a table's scale is.
_BASE = 127
MAX_BUCKETS = _BASE * _BASE
_DEVIATION = 0.1  # of first weights
_KNUTH = 2_654_435_761  # 2^32 over the golden ratio (Knuth, The Art of Computer Programming, vol. 3, section 6.4)


def whole(inputs: Tensor) -> Tensor:
    """Make token numbers of what a network is given: integers stay, floats hold whole numbers.

    >>> whole(torch.tensor([3.0])).dtype
    torch.int32
    """
    return inputs.round().to(torch.int32) if inputs.is_floating_point() else inputs


def embeddings(network: str, tokens: Tokens, width: int, buckets: int | None) -> nn.Module:
    """Make a table with a row for each token, or for each bucket.

    Args:
        network: For the message.
        tokens: Of the data; the pad's row is 0 and stays so.
        width: Of a row.
        buckets: Rows, where tokens share them; `None` for a row each.

    Returns:
        A module from (B, T) whole numbers to (B, T, width).

    Raises:
        ConfigError: Fewer than two buckets, or more than two digits name.
    """
    if buckets is None:
        return _table(tokens.vocabulary, width, tokens.pad)
    if isinstance(buckets, bool) or not 2 <= buckets <= MAX_BUCKETS:
        raise ConfigError(f"buckets = {buckets!r}", where=f"network {network}", allowed=f"2 to {MAX_BUCKETS}")
    return HashedEmbedding(tokens, width, buckets)


class HashedEmbedding(nn.Module):
    r"""Rows that tokens share (the hashing trick, Weinberger et al. 2009, arXiv:0902.2206).

    Token w has row 1 + (w * 2654435761 mod 2^32) mod (buckets - 1); the pad has row 0, which is 0. The row's number is
    looked up too, as two digits of 7 bits: neither TFLite Micro's kernels nor an integer file can compute a remainder
    of whole numbers, and a table of digits is 2 bytes a token where one of rows is `width`.

    Args:
        tokens: Of the data.
        width: Of a row.
        buckets: Rows.
    """

    def __init__(self, tokens: Tokens, width: int, buckets: int) -> None:
        super().__init__()
        numbers = torch.arange(tokens.vocabulary, dtype=torch.int64)
        rows = 1 + (numbers * _KNUTH) % 2**32 % (buckets - 1)
        if tokens.pad is not None:
            rows[tokens.pad] = 0
        self.register_buffer("high", (rows // _BASE).float()[:, None])
        self.register_buffer("low", (rows % _BASE).float()[:, None])
        self.high: Tensor
        self.low: Tensor
        self.table = _table(buckets, width, None if tokens.pad is None else 0)

    def forward(self, tokens: Tensor) -> Tensor:
        """From (B, T) whole numbers to (B, T, width)."""
        # In one dimension, so that nothing comes between a table and the rounding: an integer file holds digits times a
        # scale, and would clip what it did not see in calibration.
        line = tokens.reshape(-1)
        high, low = (functional.embedding(line, each).round().to(torch.int32) for each in (self.high, self.low))
        rows: Tensor = self.table((high * _BASE + low).reshape(-1))
        return rows.reshape(*tokens.shape, -1)


def _table(rows: int, width: int, pad: int | None) -> nn.Embedding:
    """Make a table whose rows are small: with torch's own, of deviation 1, words are learned far slower."""
    table = nn.Embedding(rows, width, padding_idx=pad)
    with torch.no_grad():
        table.weight.mul_(_DEVIATION)
    return table
