"""A text read from both ends by LSTMs, as Tang et al. 2019 distil BERT into (Graves & Schmidhuber 2005)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from edgekd.networks._checks import check_count, check_share, check_tokens
from edgekd.networks._embeddings import embeddings, whole
from edgekd.records import Tokens

_NETWORK = "text_bilstm"


def build(
    *,
    classes: int,
    input_shape: tuple[int, ...],
    tokens: Tokens | None = None,
    embedding: int = 64,
    buckets: int | None = None,
    hidden: int = 64,
    dropout: float = 0.2,
) -> nn.Module:
    """Build a classifier of texts for phones and small boards (arXiv:1903.12136, section 3.1).

    One LSTM reads from the first token to the last, the other from the last to the first; what counts is the largest
    value of each unit over the text. A text gives the same logits however far it is filled up. In a TFLite file the
    steps are written out one after another: for short texts, and not for TFLite Micro, which joins no more than ten
    tensors at once.

    Args:
        classes: Number of logits.
        input_shape: (tokens,).
        tokens: Of the data.
        embedding: Width of a token's embedding.
        buckets: So many embeddings that tokens share by a hash, for large vocabularies; `None` for one each.
        hidden: Units of each direction.
        dropout: Share dropped in training, of embeddings and before the last layer.

    Returns:
        A module from (B, T) token numbers to logits (B, classes).

    Raises:
        ConfigError: An option out of range.
        DataError: The data are no texts.

    >>> import torch
    >>> network = build(classes=4, input_shape=(16,), tokens=Tokens(vocabulary=100, pad=0))
    >>> network(torch.ones(2, 16, dtype=torch.int32)).shape
    torch.Size([2, 4])
    """
    _, known = check_tokens(_NETWORK, input_shape, tokens)
    for option, value in (("classes", classes), ("embedding", embedding), ("hidden", hidden)):
        check_count(_NETWORK, option, value)
    check_share(_NETWORK, "dropout", dropout)
    return _BiLstm(embeddings(_NETWORK, known, embedding, buckets), embedding, hidden, classes, dropout, known.pad)


class _BiLstm(nn.Module):
    takes_tokens = True

    def __init__(
        self, embedding: nn.Module, width: int, hidden: int, classes: int, dropout: float, pad: int | None
    ) -> None:
        super().__init__()
        self.embedding, self.pad = embedding, pad
        # Without biases the states of an LSTM that has seen nothing but zeros, as the pad is, are zero: the one that
        # comes from behind begins at the last token as if nothing had been filled up.
        self.lstm = nn.LSTM(width, hidden, batch_first=True, bidirectional=True, bias=False)
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(2 * hidden, classes)

    def forward(self, inputs: Tensor) -> Tensor:
        tokens = whole(inputs)
        states, _ = self.lstm(self.dropout(self.embedding(tokens)))
        if self.pad is not None:
            # A state is between -1 and 1: one of padding is never the largest.
            states = states - 2 * (tokens == self.pad)[:, :, None].to(states.dtype)
        maps = states.transpose(1, 2).unsqueeze(2)
        logits: Tensor = self.linear(self.dropout(functional.max_pool2d(maps, (1, maps.shape[3])).flatten(1)))
        return logits
