"""Llama: a causal language model with rotary positions and grouped queries (Touvron et al. 2023), from transformers."""

from __future__ import annotations

from torch import nn

from edgekd.errors import ConfigError, DataError
from edgekd.frameworks.language_models import llama
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
    kv_heads: int | None = None,
    intermediate: int | None = None,
    context: int | None = None,
    tied: bool = True,
    rope_theta: float = 10_000.0,
    epsilon: float = 1e-5,
) -> nn.Module:
    """Build a decoder that predicts the next token at every position (arXiv:2302.13971; queries: arXiv:2305.13245).

    Args:
        classes: Size of the vocabulary.
        input_shape: (T,), tokens of a sample.
        tokens: What they are, for the pad.
        layers: Blocks of attention and gated feed-forward layers.
        hidden: Width D of the hidden states.
        heads: Of queries; each takes an equal part of the width.
        kv_heads: Of keys and values, which `heads` is a multiple of; as many as `heads` by default.
        intermediate: Width of the feed-forward layers; 8/3 of `hidden`, rounded up to a multiple of 8, by default.
        context: Longest text in tokens that it is meant for; T by default.
        tied: The embedding also makes the logits (Press & Wolf 2017, arXiv:1608.05859).
        rope_theta: Base of the rotary positions' wavelengths.
        epsilon: Of the norms.

    Returns:
        A module from (B, T) tokens to logits (B, T, V), in two parts: `hidden`, (B, T, D), and `head`, (..., V).

    Raises:
        ConfigError: An option out of range, or heads that do not share the width evenly.
        DataError: Data that are no tokens.
        MissingExtraError: transformers is not installed.

    >>> network = build(classes=64, input_shape=(16,), layers=2, hidden=16, heads=4, kv_heads=2)
    >>> sum(parameter.numel() for parameter in network.parameters())
    7248
    """
    if len(input_shape) != 1:
        raise DataError(
            f"the data has shape {tuple(input_shape)}", where="network llama", allowed="(tokens,), as text_stream gives"
        )
    keys = heads if kv_heads is None else kv_heads
    width = -(-hidden * 8 // 3 // 8) * 8 if intermediate is None else intermediate
    longest = input_shape[0] if context is None else context
    sizes = {"layers": layers, "hidden": hidden, "heads": heads, "kv_heads": keys, "intermediate": width}
    for option, value in {**sizes, "classes": classes, "context": longest}.items():
        check_count("llama", option, value)
    if hidden % (2 * heads) or heads % keys:
        raise ConfigError(
            f"hidden = {hidden}, heads = {heads}, kv_heads = {keys}",
            where="network llama",
            allowed="hidden a multiple of 2 * heads, heads a multiple of kv_heads",
        )
    return llama(
        {
            "vocab_size": classes,
            "hidden_size": hidden,
            "intermediate_size": width,
            "num_hidden_layers": layers,
            "num_attention_heads": heads,
            "num_key_value_heads": keys,
            "max_position_embeddings": longest,
            "tie_word_embeddings": tied,
            "rope_theta": rope_theta,
            "rms_norm_eps": epsilon,
            "bos_token_id": tokens.begin if tokens else None,
            "eos_token_id": tokens.end if tokens else None,
        },
        tokens.pad if tokens else None,
    )
