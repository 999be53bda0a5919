"""What a causal language model's file gives on a target, of what its processes told."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekd.errors import DataError
from edgekd.records import Basis, Measurement
from edgekd.stages.benchmark.events import Events
from edgekd.stages.benchmark.failures import where
from edgekd.stages.benchmark.pairs import Pair
from edgekd.stages.benchmark.recording import record

_NS_PER_S = 1e9


def generation_of(pair: Pair, events: Events, basis: Basis) -> Iterator[Measurement]:
    """Make rates and times of texts that were generated after prompts of several lengths.

    Args:
        pair: The file, and where it ran.
        events: Of a process that generated.
        basis: Of times there.
    """
    found = events.all("generation")
    if not found:
        return
    firsts = [(str(each["prompt_length"]), text[0]) for each in found for text in each["ns"]]
    parts, first_ns = zip(*firsts, strict=True)
    yield record(
        pair,
        events,
        "time_to_first_token",
        [ns / _NS_PER_S for ns in first_ns],
        basis=basis,
        warmup=[each["warmup_ns"][0] / _NS_PER_S for each in found],
        parts=parts,
    )
    rates = [int(length) * _NS_PER_S / ns for length, ns in firsts]
    yield record(pair, events, "prefill_rate", rates, basis=basis, parts=parts)
    later = [(str(each["prompt_length"]), ns) for each in found for text in each["ns"] for ns in text[1:]]
    parts, token_ns = zip(*later, strict=True)
    warmup = [_NS_PER_S / ns for each in found for ns in each["warmup_ns"][1:]]
    yield record(
        pair, events, "decode_rate", [_NS_PER_S / ns for ns in token_ns], basis=basis, warmup=warmup, parts=parts
    )


def contexts_of(pair: Pair, events: Events, basis: Basis) -> Iterator[Measurement]:
    """Make the memory with caches of several lengths, where the target tells."""
    found = events.all("context")
    if found:
        parts = [str(each["length"]) for each in found]
        yield record(pair, events, "context_memory", [each["added_bytes"] for each in found], basis=basis, parts=parts)


def likelihood_of(pair: Pair, events: Events, window_bytes: NDArray[np.integer[Any]]) -> Iterator[Measurement]:
    """Make perplexity and bits per byte of texts that a file judged.

    Args:
        pair: The file, and where it ran.
        events: Of a process that judged windows.
        window_bytes: Shape (N,), of the text behind the tokens that were judged.

    Raises:
        DataError: Other windows than bytes.
    """
    told, sizes = events.of("likelihood"), window_bytes.tolist()
    nats, counts = told["nats"], told["counts"]
    if len(sizes) != len(nats):
        raise DataError(f"{len(nats)} windows, but bytes of {len(sizes)}", where=where(pair))
    yield record(pair, events, "perplexity", nats, basis="measured", labels=counts)
    per_byte = [x * n / size for x, n, size in zip(nats, counts, sizes, strict=True)]
    yield record(pair, events, "bits_per_byte", per_byte, basis="measured", labels=sizes)
