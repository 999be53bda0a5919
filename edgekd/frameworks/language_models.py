"""Language models of Hugging Face transformers in two parts, so that nothing need hold the logits of all positions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from edgekd import registry
from edgekd.errors import ModelError
from edgekd.frameworks.transformers import check_folder, options_of, quiet, read_config, read_network
from edgekd.records import Task

_LOADERS: dict[Task, str] = {"next_token": "AutoModelForCausalLM", "masked_token": "AutoModelForMaskedLM"}
# What architectures call that which makes logits of hidden states, in the order in which it is applied.
_HEADS = (
    ("cls",),
    ("lm_head",),
    ("embed_out",),
    ("head",),
    ("vocab_transform", "activation", "vocab_layer_norm", "vocab_projector"),
)
# How far the logits of head(hidden) may be from the network's own, of the largest.
_ROUNDING = 1e-4
# Vocabularies are filled up to a multiple of at most so many.
_FILLED_UP = 256


class LanguageModel(nn.Module):
    """Takes tokens and gives logits at every position, in one go or in two parts."""

    takes_tokens = True

    def __init__(self, network: nn.Module, pad: int | None) -> None:
        """Wrap a network of transformers.

        Args:
            network: A causal or a masked language model.
            pad: What fills up short texts, which no position looks at; `None` where there is nothing to hide.

        Raises:
            ModelError: Its head is none that is known.
        """
        super().__init__()
        self.network, self.pad = network, pad
        self.config: Any = network.config
        self._head = next((names for names in _HEADS if all(hasattr(network, name) for name in names)), ())
        if not self._head:
            raise ModelError(
                f"{type(network).__name__} has no head that is known",
                allowed=", ".join(dict.fromkeys(names[-1] for names in _HEADS)),
            )

    def hidden(self, inputs: Tensor) -> Tensor:
        """From (B, T) tokens, as integers or as whole numbers in float32, to (B, T, D)."""
        tokens = inputs if inputs.dtype in (torch.int32, torch.int64) else inputs.round().long()
        mask = None if self.pad is None else (tokens != self.pad).long()
        found: Tensor = self._body(input_ids=tokens, attention_mask=mask).last_hidden_state
        return found

    def head(self, hidden: Tensor) -> Tensor:
        """From (..., D) to logits (..., V)."""
        for name in self._head:
            part = getattr(self.network, name)
            hidden = part(hidden)
        return hidden

    def continued(self, tokens: Tensor, past: Any = None) -> tuple[Tensor, Any]:
        """Read on: keys and values of what was read before are kept, not computed again.

        Args:
            tokens: (B, T) integers that follow what `past` is of.
            past: As this function gave it; `None` at the beginning.

        Returns:
            (B, T, D), and what is to be given next time.
        """
        found = self._body(input_ids=tokens, past_key_values=past, use_cache=True)
        return found.last_hidden_state, found.past_key_values

    def forward(self, inputs: Tensor) -> Tensor:
        """From (B, T) to logits (B, T, V) float32."""
        return self.head(self.hidden(inputs)).float()

    @property
    def _body(self) -> Any:
        return getattr(self.network, self.network.base_model_prefix)  # type: ignore[call-overload]  # a text


def llama(config: Mapping[str, Any], pad: int | None = None) -> LanguageModel:
    """Build an untrained Llama (Touvron et al. 2023, arXiv:2302.13971) with grouped queries (arXiv:2305.13245).

    Args:
        config: Of transformers' `LlamaConfig`, by its names.
        pad: What fills up short texts.

    Raises:
        MissingExtraError: transformers is not installed.

    >>> sizes = {"hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    >>> network = llama({**sizes, "vocab_size": 10})
    >>> network(torch.tensor([[1.0, 2.0, 3.0]])).shape
    torch.Size([1, 3, 10])
    """
    transformers = registry.require("transformers", "a network of transformers")
    with quiet(transformers):
        settings = transformers.LlamaConfig(**config, attention_dropout=0.0, pad_token_id=None, use_cache=False)
        return LanguageModel(transformers.LlamaForCausalLM(settings), pad)


def bert(config: Mapping[str, Any], pad: int | None) -> LanguageModel:
    """Build an untrained BERT that guesses masked tokens (Devlin et al. 2019, arXiv:1810.04805).

    Args:
        config: Of transformers' `BertConfig`, by its names.
        pad: What fills up short texts.

    Raises:
        MissingExtraError: transformers is not installed.
    """
    transformers = registry.require("transformers", "a network of transformers")
    with quiet(transformers):
        return LanguageModel(transformers.BertForMaskedLM(transformers.BertConfig(**config)), pad)


def open_language_model(
    place: str | Path, task: Task, *, vocabulary: int | None = None, pad: int | None = None, revision: str = "main"
) -> LanguageModel:
    """Load a language model; nothing but numbers and settings is read, as by `open_classifier`.

    Args:
        place: A folder that `save_pretrained` wrote, as a path; a name on the hub, as a text.
        task: `next_token` or `masked_token`.
        vocabulary: How many tokens it must know; `None` is any number.
        pad: What fills up short texts.
        revision: Branch, tag or commit on the hub.

    Returns:
        In evaluation mode.

    Raises:
        ModelError: Missing, damaged, of another task, or of another vocabulary.
        MissingExtraError: transformers is not installed.
    """
    where = str(place)
    if isinstance(place, Path):
        check_folder(place)
    transformers = registry.require("transformers", "a network of transformers")
    options = options_of(place, revision)
    with quiet(transformers):
        config = read_config(transformers, place, options)
        if not isinstance(getattr(config, "vocab_size", None), int):
            raise ModelError(f"{type(config).__name__} is of no language model", where=where)
        if vocabulary is not None and config.vocab_size < vocabulary:
            raise other_vocabulary(config.vocab_size, vocabulary, where)
        # Keys and values are kept where they are asked for.
        config.use_cache = False
        network = read_network(getattr(transformers, _LOADERS[task]), config, where, options, f"for {task}")
    model = LanguageModel(network, pad).eval()
    _check_parts(model, where)
    if vocabulary is not None and config.vocab_size > vocabulary:
        _cut(model, vocabulary, where)
    return model


def other_vocabulary(own: int, wanted: int, where: str) -> ModelError:
    """Say what to do about a teacher that knows other tokens than the data has."""
    return ModelError(
        f"knows {own} tokens, the data has {wanted}",
        where=where,
        allowed="the tokenizer of the data",
        next_step="give the data the teacher's tokenizer (tokenizer = its file or folder), or the teacher its own "
        "(teachers.tokenizer) and take loss uld",
    )


def _check_parts(model: LanguageModel, where: str) -> None:
    """Check that the two parts together are the whole: architectures may scale or cap their logits on the way."""
    tokens = torch.arange(8)[None] % model.config.vocab_size
    with torch.inference_mode():
        whole, parts = model.network(input_ids=tokens).logits, model(tokens)
    if float((whole - parts).abs().max()) > _ROUNDING * max(1.0, float(whole.abs().max())):
        raise ModelError(
            f"the logits of {type(model.network).__name__} are not made by its head alone",
            where=where,
            allowed="architectures such as Llama, Qwen2, GPT-2, BERT and DistilBERT",
        )


def _cut(model: LanguageModel, vocabulary: int, where: str) -> None:
    """Take away rows of an embedding that no token has: some vocabularies are filled up to a round number."""
    if model.config.vocab_size - vocabulary >= _FILLED_UP:
        raise other_vocabulary(model.config.vocab_size, vocabulary, where)
    model.network.resize_token_embeddings(vocabulary)  # type: ignore[operator]  # transformers'
