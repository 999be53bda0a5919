"""Texts that networks write: one token after another, and many of them in parts that are kept."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from edgekd import store
from edgekd.errors import StoreError

# Texts that are written together, and kept.
PART = 256
_DIGEST_BYTES = 32


def generate(
    network: nn.Module,
    prompts: torch.Tensor,
    length: int,
    *,
    temperature: float = 1.0,
    top_p: float = 1.0,
    generator: torch.Generator | None = None,
) -> torch.Tensor:
    """Let a network write on from prompts, one token after another.

    Keys and values of what was read are kept where the network has `continued`; else all is read again each time.

    Args:
        network: Of tokens, with `hidden` and `head`; in evaluation mode.
        prompts: (B, P) integers, P of 1 or more.
        length: T, tokens of each text with its prompt.
        temperature: What logits are divided by; 0 takes the most likely token.
        top_p: Draw only from the fewest tokens whose probabilities sum to so much (Holtzman et al. 2020,
            arXiv:1904.09751, section 3.1).
        generator: Of the draws.

    Returns:
        (B, T) int64.
    """
    asked: Any = network
    texts = prompts.long()
    fresh, past = texts, None
    with torch.inference_mode():
        while texts.shape[1] < length:
            if hasattr(asked, "continued"):
                hidden, past = asked.continued(fresh, past)
            else:
                hidden = asked.hidden(texts)
            fresh = _draw(asked.head(hidden[:, -1]).float(), temperature, top_p, generator)
            texts = torch.cat([texts, fresh], dim=1)
    # Such tensors may not take part in autograd.
    return texts[:, :length].clone()


def _draw(logits: torch.Tensor, temperature: float, top_p: float, generator: torch.Generator | None) -> torch.Tensor:
    if temperature == 0:
        return logits.argmax(dim=1, keepdim=True)
    probabilities = torch.softmax(logits / temperature, dim=1)
    if top_p < 1:
        ordered, numbers = probabilities.sort(dim=1, descending=True)
        # The token that reaches the share is one of them.
        ordered[ordered.cumsum(dim=1) - ordered >= top_p] = 0
        probabilities = torch.zeros_like(probabilities).scatter_(1, numbers, ordered)
    return torch.multinomial(probabilities, 1, generator=generator)


def write_texts(
    load: Callable[[], nn.Module],
    prompts: Callable[[range], torch.Tensor],
    count: int,
    length: int,
    *,
    temperature: float,
    top_p: float,
    seed: int,
    folder: Path | None = None,
    advance: Callable[[int], None] = lambda _: None,
) -> NDArray[np.int32]:
    """Let a network write many texts; the first are the same however many there are.

    Parts that were written before are read again, so that a run that was cut off goes on at the first that is missing.

    Args:
        load: Gives the network, in evaluation mode; called only where something is missing.
        prompts: Gives how texts of these numbers begin, (B, P) integers, where the network computes.
        count: N, of texts.
        length: T, tokens of each.
        temperature: As for `generate`.
        top_p: As for `generate`.
        seed: Of the draws.
        folder: Keeps the parts; `None` keeps none. It belongs to these very texts.
        advance: Hears of texts.

    Returns:
        (N, T).

    Raises:
        StoreError: A part is damaged.
    """
    network: nn.Module | None = None
    parts: list[NDArray[np.int32]] = []
    for part, first in enumerate(range(0, count, PART)):
        numbers = range(first, min(first + PART, count))
        path = folder / f"{part:05}-{len(numbers)}.tokens" if folder else None
        texts = _read(path, len(numbers), length) if path and path.is_file() else None
        if texts is None:
            network = network or load()
            begun = prompts(numbers)
            written = generate(
                network,
                begun,
                length,
                temperature=temperature,
                top_p=top_p,
                generator=torch.Generator(begun.device).manual_seed(_seed_of(seed, part)),
            )
            texts = written.cpu().numpy().astype(np.int32)
            if path:
                body = texts.tobytes()
                store.write_bytes(path, body + hashlib.sha256(body).digest())
        parts.append(texts)
        advance(len(numbers))
    return np.concatenate(parts)


def _read(path: Path, count: int, length: int) -> NDArray[np.int32]:
    content = path.read_bytes()
    body = content[:-_DIGEST_BYTES]
    if len(body) != 4 * count * length or hashlib.sha256(body).digest() != content[-_DIGEST_BYTES:]:
        raise StoreError(
            "these texts are damaged", where=str(path), next_step="delete the file: they are written again"
        )
    return np.frombuffer(body, np.int32).reshape(count, length).copy()


def _seed_of(seed: int, part: int) -> int:
    return int.from_bytes(hashlib.sha256(f"written/{seed}/{part}".encode()).digest()[:7])
