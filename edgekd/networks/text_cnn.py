"""Convolutions over the words of a text, the strongest answer of each counts (Kim 2014)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from edgekd.errors import ConfigError
from edgekd.networks._checks import check_count, check_share, check_tokens
from edgekd.networks._embeddings import embeddings, whole
from edgekd.networks._layers import initialise
from edgekd.records import Tokens

_NETWORK = "text_cnn"


def build(
    *,
    classes: int,
    input_shape: tuple[int, ...],
    tokens: Tokens | None = None,
    embedding: int = 32,
    buckets: int | None = None,
    width: int = 64,
    kernels: tuple[int, ...] = (2, 3, 4),
    dropout: float = 0.2,
) -> nn.Module:
    """Build a classifier of texts for microcontrollers (arXiv:1408.5882).

    Embeddings, convolutions of several lengths side by side, the largest value of each channel over the text, and a
    linear layer. It becomes EMBEDDING_LOOKUP, CONV_2D, MAX_POOL_2D and FULLY_CONNECTED, which TFLite Micro has. Most of
    its bytes are embeddings: `tokens * embedding` of them as int8, or with buckets
    `2 * tokens + buckets * embedding`.

    Args:
        classes: Number of logits.
        input_shape: (tokens,).
        tokens: Of the data.
        embedding: Width of a token's embedding.
        buckets: So many embeddings that tokens share by a hash, for large vocabularies; `None` for one each.
        width: Channels of each convolution.
        kernels: How many tokens each convolution sees at once; at most as many as the text has.
        dropout: Share dropped in training, of embeddings and before the last layer.

    Returns:
        A module from (B, T) token numbers to logits (B, classes).

    Raises:
        ConfigError: An option out of range.
        DataError: The data are no texts.

    >>> network = build(classes=4, input_shape=(16,), tokens=Tokens(vocabulary=100, pad=0))
    >>> network(torch.ones(2, 16, dtype=torch.int32)).shape
    torch.Size([2, 4])
    """
    length, known = check_tokens(_NETWORK, input_shape, tokens)
    for option, value in (("classes", classes), ("embedding", embedding), ("width", width)):
        check_count(_NETWORK, option, value)
    check_share(_NETWORK, "dropout", dropout)
    for kernel in kernels:
        check_count(_NETWORK, "kernels", kernel)
    if not kernels or max(kernels) > length:
        raise ConfigError(
            f"kernels = {list(kernels)}", where=f"network {_NETWORK}", allowed=f"one or more, of 1 to {length} tokens"
        )
    network = _TextCnn(embeddings(_NETWORK, known, embedding, buckets), embedding, classes, width, kernels, dropout)
    initialise(network)
    return network


class _TextCnn(nn.Module):
    takes_tokens = True

    def __init__(
        self, embedding: nn.Module, channels: int, classes: int, width: int, kernels: tuple[int, ...], dropout: float
    ) -> None:
        super().__init__()
        self.embedding = embedding
        # Over height and width, because there is no pooling over one axis on devices.
        self.convolutions = nn.ModuleList([nn.Conv2d(channels, width, (1, kernel)) for kernel in kernels])
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(len(kernels) * width, classes)

    def forward(self, inputs: Tensor) -> Tensor:
        words = self.dropout(self.embedding(whole(inputs)))
        maps = words.transpose(1, 2).unsqueeze(2)
        strongest = []
        for convolution in self.convolutions:
            answers = functional.relu(convolution(maps))
            strongest.append(functional.max_pool2d(answers, (1, answers.shape[3])).flatten(1))
        logits: Tensor = self.linear(self.dropout(torch.cat(strongest, dim=1)))
        return logits
