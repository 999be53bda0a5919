"""Finds the range of every activation in one pass over one float model, whatever formats are made of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edgekd import registry, store
from edgekd.cache import cache_root
from edgekd.errors import ExportError
from edgekd.records import QuantSpec, Ranges, decode_precision
from edgekd.stages.export.watching import Tensors, watch
from edgekd.stats import Stream

_BATCH = 32
# Enough that two activations which are alike in all of them are the same one.
_PROBES = 4
# What attention's masks add to the score of a pad is -10,000 in files. Integers hold it as something below all other
# scores: softmax gives 3e-4 of the smallest one's share at most, which 8 bits round to 0. The masks themselves hold
# nothing else, and stay below any sum with a score.
MASKED, _BELOW, _ALONE = -5e3, 8.0, 1e3
_CODE = ("stages/export/calibrating.py", "stages/export/watching.py", "stats/histograms.py")


class SampleSource(Protocol):
    """Samples as a network takes them, (N, …) float32: an array, or what computes one as it is read."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, …), channels first."""

    def __len__(self) -> int:
        """N."""

    def __getitem__(self, chosen: slice, /) -> NDArray[np.float32]:
        """Some of them."""


def batches_of(samples: SampleSource) -> Iterator[NDArray[np.float32]]:
    """Give (32, …), or what is left in the end."""
    for start in range(0, len(samples), _BATCH):
        yield np.ascontiguousarray(samples[start : start + _BATCH], np.float32)


@dataclass(frozen=True, kw_only=True)
class Samples:
    """Calibration samples in a file, read a batch at a time so that their number does not matter.

    Attributes:
        path: Of float32 numbers, nothing else.
        shape: (N, …), channels first.
    """

    path: Path
    shape: tuple[int, ...]

    @classmethod
    def write(cls, samples: SampleSource, path: Path) -> Samples:
        """Copy samples into a file, batch by batch: the source may be computed as it is read."""
        with path.open("wb") as file:
            for batch in batches_of(samples):
                file.write(batch.tobytes())
        return cls(path=path, shape=tuple(samples.shape))

    def batches(self) -> Iterator[NDArray[np.float32]]:
        """Give (32, …), or what is left in the end."""
        size = int(np.prod(self.shape[1:])) * 4
        with self.path.open("rb") as file:
            while content := file.read(_BATCH * size):
                yield np.frombuffer(content, np.float32).reshape(-1, *self.shape[1:])


def watch_all(sources: Mapping[str, Path], samples: Samples) -> dict[str, dict[str, Stream]]:
    """Watch one float file while samples go through it; run it in a child.

    The other formats' files compute the same numbers in another layout: their activations are recognised by what they
    hold for a few samples. Only what is not in the first file is watched in a pass of its own.

    Args:
        sources: Float files by format; the first one is watched.
        samples: Of the training split.

    Returns:
        By format and name of the activation, its statistics.
    """
    (first, path), *others = sources.items()
    streams = {first: _watched(first, path, samples)}
    probes = next(samples.batches())[:_PROBES]
    for format_name, other in others:
        same = match(watch(first, path).run(probes), watch(format_name, other).run(probes))
        found = {name: streams[first][twin] for name, twin in same.items() if twin is not None}
        if len(found) < len(same):
            every = _watched(format_name, other, samples)
            found |= {name: every[name] for name in same.keys() - found.keys()}
        streams[format_name] = found
    return streams


def choose_ranges(streams: Mapping[str, Stream], spec: QuantSpec, precision: str) -> Ranges:
    """Choose a range for each activation by the calibrator that the recipe names."""
    limits = registry.function("calibrators", spec.method)
    bits = int(decode_precision(precision).activations.removeprefix("int"))
    return {name: limits(stream=stream, bits=bits, **spec.options) for name, stream in streams.items()}


def match(known: Tensors, wanted: Tensors) -> dict[str, str | None]:
    """Find which of the known activations each of the wanted ones is, by their values in any order.

    Args:
        known: By name, (N, …).
        wanted: Of the same samples, from a file of another layout.

    >>> values = np.arange(12, dtype="f").reshape(1, 3, 2, 2)
    >>> match({"relu": values, "sum": values * 2}, {"a": values.transpose(0, 2, 3, 1), "b": values[:, :1]})
    {'a': 'relu', 'b': None}
    >>> match({"in time": values.reshape(3, 4)}, {"c": values})
    {'c': None}
    """
    ordered = {name: _ordered(values) for name, values in known.items()}
    # Of recurrent layers some activations begin with time, not with samples: those are recognised in no other layout.
    alike: dict[tuple[int, ...], list[str]] = {}
    for name, values in ordered.items():
        alike.setdefault(values.shape, []).append(name)
    found: dict[str, str | None] = {}
    for name, values in wanted.items():
        target = _ordered(values)
        errors = {each: float(np.abs(ordered[each] - target).max()) for each in alike.get(target.shape, [])}
        best = min(errors, key=errors.__getitem__, default=None)
        # float32 in another order of additions, through a deep network.
        near = best is not None and errors[best] <= 1e-4 * max(float(np.ptp(target)), 1e-6)
        found[name] = best if near else None
    return found


def _ordered(values: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.sort(values.reshape(len(values), -1), axis=1)


def _watched(format_name: str, path: Path, samples: Samples) -> dict[str, Stream]:
    """Statistics of a file's activations, from the cache where the same were asked for before."""
    key = store.fingerprint(
        store.sha256_of(path),
        store.sha256_of(samples.path),
        samples.shape,
        store.code_fingerprint(*_CODE),
        store.tool_versions("onnxruntime", "ai-edge-litert"),
    )
    cached = cache_root() / "calibration" / f"{key[:32]}.npz"
    if cached.exists():
        return _load(cached)
    file, streams = watch(format_name, path), dict[str, Stream]()
    for batch in samples.batches():
        for name, values in file.run(batch).items():
            if not np.isfinite(values).all():
                raise ExportError(
                    f"activation '{name}' is not finite on calibration samples",
                    where=path.name,
                    next_step="look at the student's weights and at the samples",
                )
            streams.setdefault(name, Stream()).add(unmasked(values) if file.takes_tokens else values)
    _save(streams, cached)
    return streams


def unmasked(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Bring what masks give near all else, so that a range of integers has room for both.

    >>> unmasked(np.array([-2.0, 1.0, -1e4], "f")).tolist(), unmasked(np.array([0.0, -1e4], "f")).tolist()
    ([-2.0, 1.0, -10.0], [0.0, -1000.0])
    """
    masked = values <= MASKED
    if not masked.any() or masked.all():
        return values
    others = values[~masked]
    low, high = float(others.min()), float(others.max())
    return np.where(masked, np.float32(low - (_BELOW if high > low else _ALONE)), values)


def _save(streams: Mapping[str, Stream], path: Path) -> None:
    numbers = ("low", "high", "average_low", "average_high", "origin", "width")
    table = np.array([[getattr(stream, each) for each in numbers] for stream in streams.values()])
    arrays: dict[str, Any] = {
        "names": np.array(list(streams)),
        "numbers": table,
        "counts": np.array([stream.counts for stream in streams.values()]),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with store.atomic_path(path) as partial, partial.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


def _load(path: Path) -> dict[str, Stream]:
    with np.load(path, allow_pickle=False) as archive:
        names, table, counts = (archive[key] for key in ("names", "numbers", "counts"))
    return {
        str(name): Stream(
            low=row[0],
            high=row[1],
            average_low=row[2],
            average_high=row[3],
            origin=row[4],
            width=row[5],
            counts=count,
        )
        for name, row, count in zip(names, table.tolist(), counts, strict=True)
    }
