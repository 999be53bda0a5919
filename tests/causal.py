"""Small causal language models as files, with a key-value cache: of llama2.c's checkpoints, or of random weights."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

# Of a layer's new keys and values: all so far.
Remember = Callable[[int, torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Of a Llama, as the header of a checkpoint has them."""

    width: int = 16
    hidden: int = 24
    layers: int = 2
    heads: int = 4
    kv_heads: int = 2
    vocabulary: int = 32
    longest: int = 64

    @property
    def head_width(self) -> int:
        return self.width // self.heads


class Llama(nn.Module):
    """Touvron et al. 2023, as llama2.c computes it: RoPE over neighbouring pairs, RMSNorm, SwiGLU, tied embeddings."""

    tok: torch.Tensor
    att_norm: torch.Tensor
    wq: torch.Tensor
    wk: torch.Tensor
    wv: torch.Tensor
    wo: torch.Tensor
    ffn_norm: torch.Tensor
    w1: torch.Tensor
    w2: torch.Tensor
    w3: torch.Tensor
    norm: torch.Tensor
    cos: torch.Tensor
    sin: torch.Tensor

    def __init__(self, sizes: Sizes, weights: dict[str, torch.Tensor]) -> None:
        super().__init__()
        self.sizes = sizes
        for name, value in weights.items():
            self.register_buffer(name, value)
        half = sizes.head_width // 2
        angles = torch.outer(torch.arange(sizes.longest), 10_000.0 ** -(torch.arange(half) / half))
        self.register_buffer("cos", angles.cos())
        self.register_buffer("sin", angles.sin())

    def turned(self, x: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        cos, sin = self.cos[positions], self.sin[positions]
        even, odd = x[..., 0::2], x[..., 1::2]
        return torch.stack([even * cos - odd * sin, even * sin + odd * cos], dim=-1).flatten(-2)

    def normed(self, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-5) * weight

    def answer(
        self, tokens: torch.Tensor, positions: torch.Tensor, mask: torch.Tensor, remember: Remember
    ) -> torch.Tensor:
        """Logits (1, T, V); `remember(layer, keys, values)` gives all keys and values so far, (1, kv_heads, N, d)."""
        sizes = self.sizes
        x = self.tok[tokens]
        for layer in range(sizes.layers):
            y = self.normed(x, self.att_norm[layer])
            q, k, v = (
                (y @ weight[layer].T).reshape(1, -1, heads, sizes.head_width).transpose(1, 2)
                for weight, heads in ((self.wq, sizes.heads), (self.wk, sizes.kv_heads), (self.wv, sizes.kv_heads))
            )
            k, v = remember(layer, self.turned(k, positions), v)
            group = sizes.heads // sizes.kv_heads
            k, v = (each.unsqueeze(2).expand(-1, -1, group, -1, -1).flatten(1, 2) for each in (k, v))
            scores = self.turned(q, positions) @ k.transpose(2, 3) / sizes.head_width**0.5
            weights = torch.softmax(torch.where(mask, scores, torch.tensor(-1e9)), dim=-1)
            x = x + (weights @ v).transpose(1, 2).reshape(1, -1, sizes.width) @ self.wo[layer].T
            y = self.normed(x, self.ffn_norm[layer])
            x = x + (nn.functional.silu(y @ self.w1[layer].T) * (y @ self.w3[layer].T)) @ self.w2[layer].T
        return self.normed(x, self.norm) @ self.tok.T

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Logits of all positions of a text, (1, T, V), without a cache."""
        positions = torch.arange(tokens.shape[1])
        mask = positions[None, :] <= positions[:, None]
        return self.answer(tokens, positions, mask, lambda _, k, v: (k, v))

    @torch.no_grad()
    def greedy(self, prompt: Sequence[int], count: int) -> list[int]:
        """The most probable token after a text, again and again; each time all of the text is computed anew."""
        tokens = list(prompt)
        for _ in range(count):
            tokens.append(int(self(torch.tensor([tokens]))[0, -1].argmax()))
        return tokens[len(prompt) :]


class Growing(nn.Module):
    """With a cache that each call makes longer, as ONNX files have it."""

    def __init__(self, llama: Llama, *, last_only: bool = False) -> None:
        super().__init__()
        self.llama, self.last_only = llama, last_only

    def forward(self, tokens: torch.Tensor, past: list[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        positions = past[0].shape[2] + torch.arange(tokens.shape[1])
        mask = torch.arange(past[0].shape[2] + tokens.shape[1])[None, :] <= positions[:, None]
        present: list[torch.Tensor] = []

        def remember(layer: int, k: torch.Tensor, v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            both = tuple(torch.cat([past[2 * layer + at], new], dim=2) for at, new in enumerate((k, v)))
            present.extend(both)
            return both[0], both[1]

        logits = self.llama.answer(tokens, positions, mask, remember)
        return (logits[:, -1:] if self.last_only else logits, *present)


class Fixed(nn.Module):
    """With a cache of one length, of which each call fills in a part, as LiteRT's files have it."""

    def __init__(self, llama: Llama) -> None:
        super().__init__()
        self.llama = llama

    def forward(self, tokens: torch.Tensor, positions: torch.Tensor, **caches: torch.Tensor) -> dict[str, torch.Tensor]:
        length = caches["kv_cache_k_0"].shape[2]
        places = torch.arange(length, dtype=torch.int32)[:, None] == positions[None, :]  # (N, T)
        mask = torch.arange(length, dtype=torch.int32)[None, :] <= positions[:, None]
        outputs: dict[str, torch.Tensor] = {}

        def remember(layer: int, k: torch.Tensor, v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            names = (f"kv_cache_k_{layer}", f"kv_cache_v_{layer}")
            for name, new in zip(names, (k, v), strict=True):
                written = places.float() @ new
                outputs[name] = torch.where(places.any(dim=1)[None, None, :, None], written, caches[name])
            return outputs[names[0]], outputs[names[1]]

        outputs["logits"] = self.llama.answer(tokens, positions.long(), mask, remember)
        return outputs


def random_llama(sizes: Sizes = Sizes(), seed: int = 1) -> Llama:
    """Of random weights, large enough that its answers vary."""
    generator = torch.Generator().manual_seed(seed)
    shapes = _shapes(sizes)
    weights = {name: torch.randn(shape, generator=generator) / shape[-1] ** 0.5 for name, shape in shapes.items()}
    weights |= {name: torch.ones(shapes[name]) for name in ("att_norm", "ffn_norm", "norm")}
    weights["wo"] *= 3
    weights["w2"] *= 3
    return Llama(sizes, weights).eval()


def read_llama(path: Path) -> Llama:
    """Of llama2.c's first layout: seven integers, then all weights in float32."""
    content = path.read_bytes()
    width, hidden, layers, heads, kv_heads, vocabulary, longest = struct.unpack("<7i", content[:28])
    sizes = Sizes(
        width=width,
        hidden=hidden,
        layers=layers,
        heads=heads,
        kv_heads=kv_heads,
        vocabulary=vocabulary,
        longest=longest,
    )
    numbers, weights = torch.from_numpy(np.frombuffer(content, "<f4", offset=28).copy()), {}
    for name, shape in _shapes(sizes).items():
        count = int(np.prod(shape))
        weights[name], numbers = numbers[:count].reshape(shape), numbers[count:]
    return Llama(sizes, weights).eval()


def write_onnx(llama: Llama, path: Path, *, last_only: bool = False, optimum: bool = False) -> Path:
    """As edgekd names its tensors, or as optimum does."""
    sizes = llama.sizes
    past = [torch.zeros(1, sizes.kv_heads, 3, sizes.head_width) for _ in range(2 * sizes.layers)]
    kinds = [(layer, kind) for layer in range(sizes.layers) for kind in ("key", "value")]
    if optimum:
        names = [
            ["input_ids"],
            *([f"{prefix}.{n}.{kind}" for n, kind in kinds] for prefix in ("past_key_values", "present")),
        ]
    else:
        names = [["input"], *([f"{prefix}_{kind}_{n}" for n, kind in kinds] for prefix in ("past", "present"))]
    with warnings.catch_warnings():
        # The tracing exporter is deprecated, and quick; what it warns of here is meant.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Growing(llama, last_only=last_only),
            (torch.zeros(1, 2, dtype=torch.long), past),
            path,
            dynamo=False,
            input_names=[*names[0], *names[1]],
            output_names=["logits", *names[2]],
            dynamic_axes={names[0][0]: {1: "steps"}, **{each: {2: "length"} for each in (*names[1], *names[2])}},
            opset_version=17,
        )
    return path


def write_litert(llama: Llama, path: Path, prefill_lengths: Sequence[int]) -> Path:
    """With one signature for each length of a prompt, and one for a single token."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's, of what the converter calls
        return _write_litert(llama, path, prefill_lengths)


def _write_litert(llama: Llama, path: Path, prefill_lengths: Sequence[int]) -> Path:
    import litert_torch

    sizes = llama.sizes
    shape = (1, sizes.kv_heads, sizes.longest, sizes.head_width)
    caches = {f"kv_cache_{kind}_{layer}": torch.zeros(shape) for layer in range(sizes.layers) for kind in "kv"}
    converter: Any = litert_torch
    for name, length in [*((f"prefill_{each}", each) for each in prefill_lengths), ("decode", 1)]:
        sample = {
            "tokens": torch.zeros((1, length), dtype=torch.int32),
            "positions": torch.arange(length, dtype=torch.int32),
            **caches,
        }
        converter = converter.signature(name, Fixed(llama), sample_kwargs=sample)
    converter.convert().export(str(path))
    return path


def _shapes(sizes: Sizes) -> dict[str, tuple[int, ...]]:
    n, kv_width = sizes.layers, sizes.kv_heads * sizes.head_width
    return {
        "tok": (sizes.vocabulary, sizes.width),
        "att_norm": (n, sizes.width),
        "wq": (n, sizes.width, sizes.width),
        "wk": (n, kv_width, sizes.width),
        "wv": (n, kv_width, sizes.width),
        "wo": (n, sizes.width, sizes.width),
        "ffn_norm": (n, sizes.width),
        "w1": (n, sizes.hidden, sizes.width),
        "w2": (n, sizes.width, sizes.hidden),
        "w3": (n, sizes.hidden, sizes.width),
        "norm": (sizes.width,),
    }
