"""Texts that networks write: a teacher's, kept and learned from, and the student's own, made on the way."""

from __future__ import annotations

import logging
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from edgekd import store
from edgekd.datasets import Dataset, Split
from edgekd.errors import ConfigError
from edgekd.frameworks.writing import generate, write_texts
from edgekd.progress import Progress
from edgekd.records import Tokens, WritingSpec
from edgekd.stages.distill.positions import next_tokens
from edgekd.stages.distill.processes import Processes
from edgekd.stages.distill.teachers import Teacher
from edgekd.stages.distill.views import Batch, share

_log = logging.getLogger("edgekd")
_HALF = 0.5


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
    length = data.input_shape[0]

    def prompts(numbers: range) -> torch.Tensor:
        rows = np.array(numbers) % len(data.train)
        return prompts_of(share(data.train.inputs[rows]).to(device), spec, data.tokens)

    progress.start(f"{teacher.name}: writes", spec.samples)
    try:
        written = write_texts(
            teacher.load,
            prompts,
            spec.samples,
            length,
            temperature=spec.temperature,
            top_p=spec.top_p,
            seed=spec.seed,
            folder=folder / "written" / key[:12] if folder else None,
            advance=progress.advance,
        )
    finally:
        progress.end()
    _log.info("%s: wrote %d texts of %d tokens", teacher.name, spec.samples, length)
    inputs = written.astype(data.train.inputs.dtype)
    # Nobody measures anything on them by the byte.
    return Split(inputs=inputs, labels=np.zeros(len(inputs), np.int64))
