"""Causal language models of transformers as files: logits of tokens, with keys and values of what came before."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.cache_utils import Cache

from edgekd.errors import ModelError

# What softmax gives 0 of, and what integers hold beside scores.
_NEVER = -1e4
# Rotations that depend on how long a text is, and not on positions alone.
_BY_LENGTH = ("dynamic", "longrope")


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """What a cache holds.

    Attributes:
        layers: Each with keys and values.
        heads: Of keys and values.
        width: Of a key.
        context: How many tokens the network has positions for.
    """

    layers: int
    heads: int
    width: int
    context: int


class Causal(nn.Module):
    """A causal network with `hidden` and `head`, or one of transformers, that goes on from where it stopped."""

    takes_tokens = True

    def __init__(self, student: nn.Module, *, context: int | None = None) -> None:
        """Find in a student what transformers know to cache.

        Args:
            student: Holds a decoder of transformers. What becomes logits is its `head`, or else the decoder's own.
            context: How many tokens the cache of a TFLite file holds; `None`: as many as there are positions.

        Raises:
            ModelError: It holds no decoder, or is asked for more than it has positions for.
        """
        super().__init__()
        found = next((each for each in student.modules() if isinstance(each, PreTrainedModel)), None)
        if found is None:
            raise ModelError(
                f"{type(student).__name__} holds no decoder of transformers",
                where="export",
                allowed="a causal network of transformers, with keys and values that can be kept",
                next_step="build the student with network 'llama'",
            )
        config: Any = found.config
        # One formula for all lengths, that both formats have; also with masks of our own.
        found.set_attn_implementation("eager")
        self.body: Any = found.base_model
        self.head: Any = getattr(student, "head", None) or found.get_output_embeddings()
        heads = int(config.num_attention_heads)
        self.sizes = Sizes(
            layers=int(config.num_hidden_layers),
            heads=int(getattr(config, "num_key_value_heads", None) or heads),
            width=int(getattr(config, "head_dim", None) or config.hidden_size // heads),
            context=context or int(config.max_position_embeddings),
        )
        if self.sizes.context > config.max_position_embeddings:
            raise ModelError(
                f"context = {context}",
                where="export",
                allowed=f"{config.max_position_embeddings} or less: there are no more positions",
            )
        _rotate_by_products(self.body)

    def forward(self, inputs: Tensor) -> Tensor:
        """From tokens (B, T) to logits (B, T, V), without anything before them."""
        tokens = (inputs.round() if inputs.is_floating_point() else inputs).long()
        nothing = [tokens.new_zeros((len(tokens), self.sizes.heads, 0, self.sizes.width), dtype=torch.float32)]
        return cast("Tensor", _Growing(self)(tokens, *nothing * (2 * self.sizes.layers))[0])

    def logits(self, tokens: Tensor, positions: Tensor, mask: Tensor, cache: Cache) -> Tensor:
        """From tokens (B, T) at positions (T,) to logits (B, T, V).

        Args:
            tokens: Integers.
            positions: Of the tokens.
            mask: 0 or very low, (1, 1, T, keys).
            cache: Given keys and values; takes new ones.
        """
        given = self.body(
            input_ids=tokens,
            position_ids=positions[None],
            cache_position=positions,
            attention_mask=mask,
            past_key_values=cache,
            use_cache=True,
        )
        return cast("Tensor", self.head(given.last_hidden_state))

    def write_onnx(self, example: NDArray[np.float32], path: Path, **_: bool) -> bool:
        """Write one file for prompts and single tokens, of any batch and length.

        Inputs: `input`, (B, T) int64; `past_key_{i}`, `past_value_{i}`, (B, heads, P, width), P = 0 in the beginning.
        Outputs: `logits`, (B, T, V); `present_key_{i}`, `present_value_{i}`, (B, heads, P + T, width).

        Returns:
            True.
        """
        sizes = self.sizes
        pasts = [f"past_{kind}_{layer}" for layer in range(sizes.layers) for kind in ("key", "value")]
        batch, length, past = (torch.export.Dim(name) for name in ("batch", "length", "past"))
        # Sizes of one would be taken for constants.
        tokens = torch.from_numpy(np.repeat(np.rint(example[:1, :4]).astype(np.int64), 2, axis=0))
        empty = [torch.zeros(2, sizes.heads, 3, sizes.width) for _ in pasts]
        program = torch.onnx.export(
            _Growing(self).eval(),
            (tokens, *empty),
            dynamo=True,
            input_names=["input", *pasts],
            output_names=["logits", *(name.replace("past", "present") for name in pasts)],
            dynamic_shapes=({0: batch, 1: length}, tuple({0: batch, 2: past} for _ in pasts)),
            optimize=True,
            verbose=False,
        )
        model = cast("Any", program).model_proto
        path.write_bytes(model.SerializeToString(deterministic=True))
        return True

    def write_tflite(self, example: NDArray[np.float32], path: Path) -> bool:
        """Write one file with signatures `prefill_{T}` and `decode`, T being the example's length.

        Inputs: `tokens`, (1, T) int32; `positions`, (T,) int32; `kv_cache_k_{i}`, `kv_cache_v_{i}`, (1, heads, context,
        width). Outputs: `logits`, (1, T, V), and the caches with what these tokens add. Prompts that are shorter than T
        are filled up with anything: what comes later writes over it.

        Returns:
            True.
        """
        import litert_torch

        sizes = self.sizes
        step = _Filling(self).eval()
        length = min(example.shape[1], sizes.context)
        caches = {name: torch.zeros(1, sizes.heads, sizes.context, sizes.width) for name in step.names}

        def sample(count: int) -> dict[str, Tensor]:
            numbers = torch.arange(count, dtype=torch.int32)
            return {"tokens": torch.zeros(1, count, dtype=torch.int32), "positions": numbers, **caches}

        converted = (
            litert_torch.signature(f"prefill_{length}", step, sample_kwargs=sample(length))
            .signature("decode", step, sample_kwargs=sample(1))
            .convert()
        )
        converted.export(str(path))
        return True


class _Growing(nn.Module):
    """With keys and values that grow by those of the tokens."""

    def __init__(self, network: Causal) -> None:
        super().__init__()
        self.network = network

    def forward(self, tokens: Tensor, *pasts: Tensor) -> tuple[Tensor, ...]:
        cache = _Joined(pasts[::2], pasts[1::2])
        before, count = pasts[0].shape[2], tokens.shape[1]
        positions = torch.arange(before, before + count)
        mask = _mask(torch.arange(before + count), positions)
        logits = self.network.logits(tokens, positions, mask, cache)
        return (logits, *cache.all())


class _Filling(nn.Module):
    """With keys and values in tensors of one size, which those of the tokens are written into."""

    def __init__(self, network: Causal) -> None:
        super().__init__()
        self.network = network
        layers = range(network.sizes.layers)
        self.names = [f"kv_cache_{kind}_{layer}" for layer in layers for kind in ("k", "v")]

    def forward(self, tokens: Tensor, positions: Tensor, **caches: Tensor) -> dict[str, Tensor]:
        given = [caches[name] for name in self.names]
        cache = _Written(given[::2], given[1::2], positions[0])
        mask = _mask(torch.arange(self.network.sizes.context, dtype=torch.int32), positions)
        logits = self.network.logits(tokens, positions, mask, cache)
        return {"logits": logits, **dict(zip(self.names, cache.all(), strict=True))}


class _Given(Cache):  # type: ignore[misc]  # transformers has no types
    """Keys and values by layer, as transformers' layers ask for them."""

    def __init__(self, keys: tuple[Tensor, ...] | list[Tensor], values: tuple[Tensor, ...] | list[Tensor]) -> None:
        self.layers: list[Any] = []
        self.keys, self.values = [*keys], [*values]

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Nothing: positions and masks are given."""
        return 0 * layer_idx

    def all(self) -> Iterator[Tensor]:
        """Keys and values of the first layer, of the second, ..."""
        for pair in zip(self.keys, self.values, strict=True):
            yield from pair


class _Joined(_Given):
    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, cache_kwargs: dict[str, Any] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Put new ones behind those before."""
        del cache_kwargs
        self.keys[layer_idx] = torch.cat([self.keys[layer_idx], key_states], dim=2)
        self.values[layer_idx] = torch.cat([self.values[layer_idx], value_states], dim=2)
        return self.keys[layer_idx], self.values[layer_idx]


class _Written(_Given):
    def __init__(self, keys: list[Tensor], values: list[Tensor], start: Tensor) -> None:
        super().__init__(keys, values)
        self.start = start

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, cache_kwargs: dict[str, Any] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Write new ones over what is at their place."""
        from litert_torch.generative.custom_ops.dynamic_update_slice import dynamic_update_slice

        del cache_kwargs
        zero = torch.zeros((), dtype=torch.int32)
        place = [zero, zero, self.start, zero]
        self.keys[layer_idx] = dynamic_update_slice(self.keys[layer_idx], key_states, place)
        self.values[layer_idx] = dynamic_update_slice(self.values[layer_idx], value_states, place)
        return self.keys[layer_idx], self.values[layer_idx]


def _mask(keys: Tensor, positions: Tensor) -> Tensor:
    """Let each token see those before it and itself, (1, 1, T, keys)."""
    return torch.where(keys[None, :] <= positions[:, None], 0.0, _NEVER)[None, None]


class _Rotation(nn.Module):
    """Angles of positions by products, where transformers take a product of matrices that quantizers would round."""

    inv_freq: Tensor

    def __init__(self, inv_freq: Tensor, scaling: float) -> None:
        super().__init__()
        self.register_buffer("inv_freq", inv_freq)
        self.scaling = scaling

    def forward(self, values: Tensor, position_ids: Tensor) -> tuple[Tensor, Tensor]:
        angles = position_ids[..., None].to(values.dtype) * self.inv_freq
        angles = torch.cat([angles, angles], dim=-1)
        return angles.cos() * self.scaling, angles.sin() * self.scaling


def _rotate_by_products(body: nn.Module) -> None:
    for module in list(body.modules()):
        rotary: Any = getattr(module, "rotary_emb", None)
        frequencies: Tensor | None = getattr(rotary, "inv_freq", None)
        if frequencies is None:
            continue
        kind = str(getattr(rotary, "rope_type", "default"))
        if kind in _BY_LENGTH:
            raise ModelError(
                f"positions are rotated by '{kind}', which depends on the length of the text",
                where="export",
                allowed="default, linear, llama3, yarn",
                next_step="set rope_scaling in the configuration",
            )
        scaling = float(getattr(rotary, "attention_scaling", 1.0))
        cast("Any", module).rotary_emb = _Rotation(frequencies.detach().clone(), scaling)
