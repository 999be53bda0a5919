"""Texts that networks write: a teacher's, kept and learned from, and the student's own, made on the way."""

from __future__ import annotations

import hashlib
import logging
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from edgekd import store
from edgekd.datasets import Dataset, Split
from edgekd.errors import ConfigError, StoreError
from edgekd.progress import Progress
from edgekd.records import Tokens, WritingSpec
from edgekd.stages.distill.positions import next_tokens
from edgekd.stages.distill.processes import Processes
from edgekd.stages.distill.teachers import Teacher
from edgekd.stages.distill.views import Batch, share

_log = logging.getLogger("edgekd")
_HALF = 0.5
_PART = 256  # texts that are written together, and kept
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


def is_own(spec: WritingSpec, number: int) -> bool:
    """Whether the student writes the texts of a batch, by the number of the batch: so often, evenly spread.

    >>> [is_own(WritingSpec(on_policy=0.5), number) for number in range(4)]
    [True, False, True, False]
    """
    before, after = (math.floor(spec.on_policy * done + _HALF) for done in (number, number + 1))
    return after > before


def own_batch(network: nn.Module, batch: Batch, spec: WritingSpec, tokens: Tokens | None, *, seed: int) -> Batch:
    """Let a network in training write texts that begin as the samples of a batch do.

    Args:
        network: Left in the mode in which it is.
        batch: Samples.
        spec: How.
        tokens: What they are.
        seed: Of the draws.

    Returns:
        A batch of what it wrote.
    """
    was_training = network.training
    network.eval()
    try:
        texts = generate(
            network,
            prompts_of(batch.inputs, spec, tokens),
            batch.inputs.shape[1],
            temperature=spec.temperature,
            top_p=spec.top_p,
            generator=torch.Generator(batch.inputs.device).manual_seed(seed),
        )
    finally:
        network.train(was_training)
    inputs = texts.to(batch.inputs.dtype)
    return replace(batch, inputs=inputs, labels=next_tokens(inputs, tokens.pad if tokens else None))


def prompts_of(inputs: torch.Tensor, spec: WritingSpec, tokens: Tokens | None) -> torch.Tensor:
    """Give how texts begin: (B, P) int64.

    Raises:
        ConfigError: No token begins a text, or prompts leave nothing to write.
    """
    if spec.prompt >= inputs.shape[1]:
        raise ConfigError(
            f"prompts of {spec.prompt} tokens for texts of {inputs.shape[1]}",
            where="distill.generation.prompt",
            allowed=f"at most {inputs.shape[1] - 1}",
        )
    if spec.prompt:
        return inputs[:, : spec.prompt].long()
    if tokens is None or tokens.begin is None:
        raise ConfigError(
            "the tokenizer has no token that begins a text", where="distill.generation.prompt", allowed="1 or more"
        )
    return torch.full((len(inputs), 1), tokens.begin, dtype=torch.int64, device=inputs.device)


def written_for_all(
    teacher: Teacher,
    spec: WritingSpec | None,
    data: Dataset,
    folder: Path | None,
    progress: Progress,
    processes: Processes,
) -> Split | None:
    """Let a teacher write what is learned from, if anything; one process does, the others are given it."""
    if spec is None or not spec.samples:
        return None
    split = None
    if processes.rank == 0:
        split = written_by(teacher, spec, data, folder=folder, progress=progress, device=processes.device)
    return processes.share(split)


def written_by(
    teacher: Teacher,
    spec: WritingSpec,
    data: Dataset,
    *,
    folder: Path | None,
    progress: Progress,
    device: torch.device,
) -> Split:
    """Let a teacher write what the student learns from.

    Parts that were written before are read again, so that a run that was cut off goes on at the first that is missing.

    Args:
        teacher: Loaded only where something is missing.
        spec: How many, and how.
        data: Its training samples begin the texts; and for their length.
        folder: Where the texts are kept; `None` keeps them in memory.
        progress: Hears of texts.
        device: Where to compute.

    Returns:
        (samples, T) texts.

    Raises:
        StoreError: A part is damaged.
        ConfigError: As `prompts_of`.
    """
    key = store.fingerprint(teacher.fingerprint, data.sha256, spec, torch.__version__)
    place = folder / "written" / key[:12] if folder else None
    length = data.input_shape[0]
    parts: list[NDArray[np.int32]] = []
    network: nn.Module | None = None
    progress.start(f"{teacher.name}: writes", spec.samples)
    try:
        for part, first in enumerate(range(0, spec.samples, _PART)):
            count = min(_PART, spec.samples - first)
            path = place / f"{part:05}.tokens" if place else None
            texts = _read(path, count, length) if path and path.is_file() else None
            if texts is None:
                network = network or teacher.load()
                rows = np.arange(first, first + count) % len(data.train)
                begun = share(data.train.inputs[rows]).to(device)
                generator = torch.Generator(device).manual_seed(_seed_of(spec.seed, part))
                written = generate(
                    network,
                    prompts_of(begun, spec, data.tokens),
                    length,
                    temperature=spec.temperature,
                    top_p=spec.top_p,
                    generator=generator,
                )
                texts = written.cpu().numpy().astype(np.int32)
                if path:
                    body = texts.tobytes()
                    store.write_bytes(path, body + hashlib.sha256(body).digest())
            parts.append(texts)
            progress.advance(count)
    finally:
        progress.end()
    _log.info("%s: wrote %d texts of %d tokens", teacher.name, spec.samples, length)
    inputs = np.concatenate(parts).astype(data.train.inputs.dtype)
    # Nobody measures anything on them by the byte.
    return Split(inputs=inputs, labels=np.zeros(len(inputs), np.int64))


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
