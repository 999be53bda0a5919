"""BERT of any size as a classifier or an encoder of sentences, by transformers (Devlin et al. 2019)."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from edgekd import registry
from edgekd.errors import ConfigError
from edgekd.frameworks.transformers import Classifier, quiet
from edgekd.networks._checks import check_choice, check_count, check_share, check_tokens
from edgekd.records import Tokens

_NETWORK = "bert"


def build(
    *,
    classes: int,
    input_shape: tuple[int, ...],
    tokens: Tokens | None = None,
    layers: int = 4,
    hidden: int = 128,
    heads: int = 4,
    intermediate: int | None = None,
    embedding: int | None = None,
    positions: int | None = None,
    dropout: float = 0.1,
    pool: Literal["first", "mean"] = "first",
) -> nn.Module:
    """Build an untrained transformer encoder (arXiv:1810.04805) with what is learned on top of it.

    Half the layers of another one, begun from its weights, is what DistilBERT is (Sanh et al. 2019, arXiv:1910.01108).
    Its layers are `network.bert.encoder.layer.0` and so on, the projections in them
    `network.bert.encoder.layer.0.attention.self.query`, `key` and `value`; with factorised embeddings
    `network.electra...`, with `pool = "mean"` `bert...`, and `pool` is the embedding of the sentence.

    Args:
        classes: Number of outputs.
        input_shape: (tokens,).
        tokens: Of the data: size of the vocabulary, and what fills up short texts.
        layers: Of attention and feed-forward.
        hidden: Width D, a multiple of `heads`.
        heads: Of attention.
        intermediate: Width of the feed-forward part; four times `hidden` by default.
        embedding: Width of the embeddings, where it differs: they are projected (as ELECTRA does; Clark et al. 2020,
            arXiv:2003.10555).
        positions: Longest text that the weights are for, where that is more than the data's: to load pretrained ones.
        dropout: In training, everywhere.
        pool: `first`: the class is told by the first token, through a layer of its own. `mean`: by the mean over the
            text's tokens, without one (as sentence encoders do; Reimers & Gurevych 2019, arXiv:1908.10084).

    Returns:
        A module from (B, T) token numbers to (B, classes).

    Raises:
        ConfigError: An option out of range.
        DataError: The data are no texts.
        MissingExtraError: transformers is not installed.

    >>> network = build(classes=2, input_shape=(8,), tokens=Tokens(vocabulary=50, pad=0), layers=1, hidden=8, heads=2)
    >>> network(torch.tensor([[5, 7, 0, 0, 0, 0, 0, 0]])).shape
    torch.Size([1, 2])
    """
    length, known = check_tokens(_NETWORK, input_shape, tokens)
    counts = {"classes": classes, "layers": layers, "hidden": hidden, "heads": heads}
    chosen = {"intermediate": intermediate, "embedding": embedding, "positions": positions}
    for option, value in (counts | {key: value for key, value in chosen.items() if value is not None}).items():
        check_count(_NETWORK, option, value)
    check_share(_NETWORK, "dropout", dropout)
    check_choice(_NETWORK, "pool", pool, ("first", "mean"))
    if hidden % heads:
        raise ConfigError(f"heads = {heads} of hidden = {hidden}", where=f"network {_NETWORK}", allowed="a divisor")
    if positions is not None and positions < length:
        raise ConfigError(
            f"positions = {positions}", where=f"network {_NETWORK}", allowed=f"at least {length}, the data's length"
        )
    factorised = embedding is not None and embedding != hidden
    if factorised and pool == "mean":
        raise ConfigError("embedding with pool = 'mean'", where=f"network {_NETWORK}", allowed="one of them")
    settings: dict[str, Any] = {
        "vocab_size": known.vocabulary,
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": intermediate or 4 * hidden,
        "max_position_embeddings": positions or length,
        "hidden_dropout_prob": dropout,
        "attention_probs_dropout_prob": dropout,
        # Where nothing is filled up, no token has an embedding of 0.
        "pad_token_id": known.pad,
        "num_labels": classes,
    }
    transformers = registry.require("transformers", f"network '{_NETWORK}'")
    with quiet(transformers):
        if pool == "mean":
            encoder = transformers.BertModel(transformers.BertConfig(**settings), add_pooling_layer=False)
            return _MeanPooled(encoder, hidden, classes, dropout, known.pad)
        if factorised:
            network = transformers.ElectraForSequenceClassification(
                transformers.ElectraConfig(**settings, embedding_size=embedding)
            )
        else:
            network = transformers.BertForSequenceClassification(transformers.BertConfig(**settings))
    return Classifier(network, "text", known.pad)


class _MeanPooled(nn.Module):
    """An encoder whose tokens are averaged; a linear layer gives the outputs."""

    takes_tokens = True

    def __init__(self, encoder: nn.Module, hidden: int, outputs: int, dropout: float, pad: int | None) -> None:
        super().__init__()
        self.bert, self.pad = encoder, pad
        self.pool = _Mean()
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(hidden, outputs)

    def forward(self, inputs: Tensor) -> Tensor:
        tokens = (inputs.round() if inputs.is_floating_point() else inputs).long()
        mask = torch.ones_like(tokens) if self.pad is None else (tokens != self.pad).long()
        states = self.bert(input_ids=tokens, attention_mask=mask).last_hidden_state
        outputs: Tensor = self.linear(self.dropout(self.pool(states, mask)))
        return outputs


class _Mean(nn.Module):
    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """Average (B, T, D) over the tokens of each text."""
        each = mask[..., None].to(states.dtype)
        return (states * each).sum(dim=1) / each.sum(dim=1).clamp(min=1)
