"""BERT that guesses masked tokens, which is how encoders learn of text without labels (Devlin et al. 2019)."""

from __future__ import annotations

from torch import nn

from edgekd.errors import ConfigError, DataError
from edgekd.frameworks.language_models import bert
from edgekd.networks._checks import check_count
from edgekd.records import Tokens


def build(
    *,
    classes: int,
    input_shape: tuple[int, ...],
    tokens: Tokens | None = None,
    layers: int = 4,
    hidden: int = 128,
    heads: int = 4,
    intermediate: int | None = None,
    dropout: float = 0.1,
) -> nn.Module:
    """Build an encoder with a head that guesses tokens (arXiv:1810.04805, section 3.1).

    Its layers and embeddings have the names and shapes of `bert`, which can begin with them.

    Args:
        classes: Size of the vocabulary.
        input_shape: (T,), tokens of a sample.
        tokens: What they are, for the pad.
        layers: Blocks of attention and feed-forward layers.
        hidden: Width D of the hidden states.
        heads: Of attention; each takes an equal part of the width.
        intermediate: Width of the feed-forward layers; four times `hidden` by default.
        dropout: Share of hidden states and attention dropped in training.

    Returns:
        A module from (B, T) tokens to logits (B, T, V), in two parts: `hidden`, (B, T, D), and `head`, (..., V).

    Raises:
        ConfigError: An option out of range, or heads that do not share the width evenly.
        DataError: Data that are no tokens.
        MissingExtraError: transformers is not installed.

    >>> network = build(classes=64, input_shape=(16,), layers=1, hidden=16, heads=2)
    >>> tuple(network.hidden(__import__("torch").zeros(2, 16)).shape)
    (2, 16, 16)
    """
    if len(input_shape) != 1:
        raise DataError(f"the data has shape {tuple(input_shape)}", where="network bert_masked", allowed="(tokens,)")
    sizes = {"layers": layers, "hidden": hidden, "heads": heads, "intermediate": intermediate or 4 * hidden}
    for option, value in {**sizes, "classes": classes}.items():
        check_count("bert_masked", option, value)
    if hidden % heads:
        raise ConfigError(
            f"hidden = {hidden}, heads = {heads}", where="network bert_masked", allowed="hidden a multiple of heads"
        )
    if not 0 <= dropout < 1:
        raise ConfigError(f"dropout = {dropout}", where="network bert_masked", allowed="0 to 1, 1 excluded")
    return bert(
        {
            "vocab_size": classes,
            "hidden_size": hidden,
            "num_hidden_layers": layers,
            "num_attention_heads": heads,
            "intermediate_size": sizes["intermediate"],
            "max_position_embeddings": input_shape[0],
            "hidden_dropout_prob": dropout,
            "attention_probs_dropout_prob": dropout,
            "pad_token_id": tokens.pad if tokens else None,
        },
        tokens.pad if tokens else None,
    )
