"""Teachers' logits on disk: raw, memory-mapped, and tied by hashes to all that they depend on.

A cache is a folder: `manifest.json` and, for each view and each run of samples, one shard. A shard is the logits of
its samples followed by the SHA-256 of those bytes; it is written whole or not at all, so that a killed build goes on
at the first one that is missing. Up to `DENSE_CLASSES` classes all logits are kept as float16; beyond, the largest K
with their classes and the log-sum-exp of all, from which the rest is restored as a uniform tail.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgekd import store
from edgekd.errors import ConfigError, StoreError, write_error

DENSE_CLASSES = 64
_DEFAULT_KEPT = 32
_LEAST_KEPT = 4
SHARD_SAMPLES = 16_384
_DIGEST_BYTES = 32
# A logit of which nothing is left as a probability, and which float16 holds.
NEVER = -6e4
_MANIFEST = "manifest.json"
# What does not make a cache another one: names, and the precision that was chosen when it was begun.
_NAMES_AND_CHOICES = {"depends", "teacher", "data", "precision"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class CacheManifest:
    """What a cache holds and what it was computed from.

    Attributes:
        depends: Name of each thing that the logits depend on, with its hash or value.
        kept: Logits kept of each sample; all of them where it equals `classes`.
        precision: In which the teacher computed: `fp32` or `bf16`.
    """

    teacher: str
    data: str
    depends: Mapping[str, str]
    samples: int
    views: int
    classes: int
    kept: int
    precision: str
    shard_samples: int = SHARD_SAMPLES
    format: int = 1

    @property
    def bytes_per_sample(self) -> int:
        """Of one view."""
        return sample_bytes(self.classes, self.kept)

    @property
    def size_bytes(self) -> int:
        """Of all shards, without their checksums."""
        return self.samples * self.views * self.bytes_per_sample


def sample_bytes(classes: int, kept: int) -> int:
    """Bytes that one view of one sample takes.

    >>> sample_bytes(10, 10), sample_bytes(1000, 10)
    (20, 44)
    """
    if kept == classes:
        return 2 * classes
    return kept * (2 + _index_type(classes).itemsize) + 4


def choose_kept(
    *, samples: int, views: int, classes: int, budget_bytes: int | None, whole: bool = False, some: bool = False
) -> int:
    """Choose how many logits of each sample to keep: all where there is room, else the largest K.

    Args:
        samples: How many.
        views: Of each.
        classes: Logits that the teacher gives for each.
        budget_bytes: For all of them; `None` for no limit.
        whole: Outputs that are no logits of classes can't be restored from the largest: all are kept.

        some: Not all, even where there is room: they are draws.

    Raises:
        ConfigError: The budget does not hold even a few logits of each sample.

    >>> choose_kept(samples=1_281_167, views=1, classes=1000, budget_bytes=500_000_000)
    96
    """
    if budget_bytes is None:
        return classes if whole or (classes <= DENSE_CLASSES and not some) else min(_DEFAULT_KEPT, classes - 1)
    room = budget_bytes / (samples * views)
    if sample_bytes(classes, classes) <= room and not some:
        return classes
    kept = min(int((room - 4) // (2 + _index_type(classes).itemsize)), classes - 1)
    least = classes if whole else min(_LEAST_KEPT, classes)
    if kept < least:
        # All of a few classes take less than some of them with their numbers.
        smallest = samples * min(sample_bytes(classes, least), sample_bytes(classes, classes))
        needed, fitting = views * smallest, budget_bytes // smallest
        raise ConfigError(
            f"a cache of {views} views of {samples} samples does not fit into {budget_bytes} bytes",
            where="cache_budget",
            allowed=f"{needed} bytes or more",
            next_step=f"or set views = {fitting}" if fitting else "or train on fewer samples",
        )
    return kept


class TeacherCache:
    """One teacher's logits for every view of every sample.

    >>> import tempfile
    >>> manifest = CacheManifest(
    ...     teacher="t", data="d", depends={}, samples=2, views=1, classes=3, kept=3, precision="fp32")
    >>> cache = TeacherCache.open(Path(tempfile.mkdtemp()), manifest)
    >>> for view, samples in cache.missing():
    ...     cache.write(view, samples, np.array([[1, 2, 3], [4, 5, 6]], np.float32))
    >>> cache.read(0, np.array([1])).tolist()
    [[4.0, 5.0, 6.0]]
    """

    def __init__(self, folder: Path, manifest: CacheManifest) -> None:
        self.folder, self.manifest = folder, manifest
        self._mapped: dict[tuple[int, int], _Shard] = {}

    @classmethod
    def open(cls, folder: Path, manifest: CacheManifest) -> TeacherCache:
        """Open a cache that fits, whole or in part, or begin one.

        Raises:
            StoreError: The folder holds a cache of something else; the message names what differs.
        """
        path = folder / _MANIFEST
        if not path.is_file():
            store.write_json(path, manifest)
            return cls(folder, manifest)
        found = store.read_json(path, CacheManifest)
        changed = [
            key
            for key in manifest.depends.keys() | found.depends.keys()
            if manifest.depends.get(key) != found.depends.get(key)
        ]
        changed += [
            field.name
            for field in dataclasses.fields(manifest)
            if field.name not in _NAMES_AND_CHOICES and getattr(manifest, field.name) != getattr(found, field.name)
        ]
        if changed:
            raise StoreError(
                f"this cache was made of something else: other {', '.join(sorted(changed))}",
                where=str(folder),
                next_step=f"`edgekd cache clear {folder}` and build it again, or name another cache_folder",
            )
        return cls(folder, found)

    @classmethod
    def load(cls, folder: Path) -> TeacherCache:
        """Open a cache as it lies there.

        Raises:
            StoreError: Not a cache.
        """
        return cls(folder, store.read_json(folder / _MANIFEST, CacheManifest))

    @property
    def is_complete(self) -> bool:
        """Whether every shard is there."""
        return next(self.missing(), None) is None

    @property
    def disk_bytes(self) -> int:
        """What lies on the disk now."""
        return sum(file.stat().st_size for file in self.folder.iterdir() if file.is_file())

    def missing(self) -> Iterator[tuple[int, range]]:
        """Give the views and runs of samples that are still to be written, in order.

        Raises:
            StoreError: A shard has another size than it must have.
        """
        for view in range(self.manifest.views):
            for shard in range(self._shards):
                path = self._path(view, shard)
                if not path.is_file():
                    yield view, self._samples(shard)
                elif path.stat().st_size != self._shard_bytes(shard):
                    raise self._damaged(path)

    def write(self, view: int, samples: range, logits: NDArray[np.float32]) -> None:
        """Write one shard.

        Args:
            view: Number of the view.
            samples: As `missing` gave it.
            logits: (len(samples), classes).

        Raises:
            StoreError: Logits that are not finite or too large for float16, or a full disk.
        """
        self.write_parts(view, samples, [logits])

    def write_parts(self, view: int, samples: range, parts: Iterable[NDArray[np.float32]]) -> None:
        """Write one shard of logits that come a part at a time, since all of them are more than memory holds.

        Args:
            view: Number of the view.
            samples: As `missing` gave it.
            parts: (some, classes) each, len(samples) together.

        Raises:
            StoreError: As `write`.
        """
        path = self._path(view, samples.start // self.manifest.shard_samples)
        encoded = []
        for logits in parts:
            with np.errstate(over="ignore", invalid="ignore"):  # what does not fit is found below
                encoded.append(_encode(logits, self.manifest.kept))
            if encoded[-1] is None:
                raise StoreError(
                    f"the teacher gives logits that float16 does not hold (largest {float(np.abs(logits).max()):g})",
                    where=self.manifest.teacher,
                    next_step='check the teacher and its inputs, or train with cache = "off"',
                )
        whole = [each for each in encoded if each is not None]
        content = b"".join(np.concatenate(arrays).tobytes() for arrays in zip(*whole, strict=True))
        store.write_bytes(path, content + hashlib.sha256(content).digest())

    def check(self) -> None:
        """Check every shard's bytes against its checksum.

        Raises:
            StoreError: One is missing or damaged.
        """
        for view in range(self.manifest.views):
            for shard in range(self._shards):
                path = self._path(view, shard)
                try:
                    content = path.read_bytes()
                except OSError as error:
                    raise StoreError(f"can't read it: {error.strerror}", where=str(path)) from None
                body, digest = content[:-_DIGEST_BYTES], content[-_DIGEST_BYTES:]
                if len(content) != self._shard_bytes(shard) or hashlib.sha256(body).digest() != digest:
                    raise self._damaged(path)

    def read(self, view: int, indices: NDArray[np.int64]) -> NDArray[np.float32]:
        """Read logits.

        Args:
            view: Number of the view.
            indices: (B,) samples, in any order.

        Returns:
            (B, classes); where only K were kept, the others share what is left of the probability.
        """
        if self._shards == 1:
            return self._shard(view, 0).read(indices)
        logits = np.empty((len(indices), self.manifest.classes), np.float32)
        shards = indices // self.manifest.shard_samples
        for shard in np.unique(shards):
            chosen = shards == shard
            logits[chosen] = self._shard(view, int(shard)).read(indices[chosen] - shard * self.manifest.shard_samples)
        return logits

    @property
    def _shards(self) -> int:
        return -(-self.manifest.samples // self.manifest.shard_samples)

    def _samples(self, shard: int) -> range:
        start = shard * self.manifest.shard_samples
        return range(start, min(start + self.manifest.shard_samples, self.manifest.samples))

    def _shard_bytes(self, shard: int) -> int:
        return len(self._samples(shard)) * self.manifest.bytes_per_sample + _DIGEST_BYTES

    def _path(self, view: int, shard: int) -> Path:
        return self.folder / f"view-{view:04}-{shard:05}.logits"

    def _shard(self, view: int, shard: int) -> _Shard:
        if (view, shard) not in self._mapped:
            mapped = np.memmap(self._path(view, shard), np.uint8, "r")
            self._mapped[view, shard] = _Shard(mapped, len(self._samples(shard)), self.manifest)
        return self._mapped[view, shard]

    def _damaged(self, path: Path) -> StoreError:
        return StoreError(
            "this part of the cache is damaged",
            where=str(path),
            next_step="delete the file: the next run computes it again",
        )


class _Shard:
    """The logits of one run of samples of one view, as they lie in the file."""

    def __init__(self, mapped: NDArray[np.uint8], samples: int, manifest: CacheManifest) -> None:
        kept, self.classes = manifest.kept, manifest.classes
        values_end = 2 * samples * kept
        self.values = mapped[:values_end].view(np.float16).reshape(samples, kept)
        self.dense = kept == self.classes
        if not self.dense:
            index = _index_type(self.classes)
            indices_end = values_end + samples * kept * index.itemsize
            self.indices = mapped[values_end:indices_end].view(index).reshape(samples, kept)
            self.log_sums = mapped[indices_end : indices_end + 4 * samples].view(np.float32)

    def read(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        values = self.values[rows].astype(np.float32)
        if self.dense:
            return values
        log_sums = self.log_sums[rows][:, None]
        kept = np.exp(values - log_sums).sum(axis=1, keepdims=True)
        # Rounding to float16 may leave nothing, or less, for the tail.
        rest = np.log(np.maximum(1 - kept, 1e-7) / (self.classes - values.shape[1])) + log_sums
        logits = np.repeat(np.minimum(rest, values.min(axis=1, keepdims=True)), self.classes, axis=1)
        np.put_along_axis(logits, self.indices[rows].astype(np.int64), values, axis=1)
        return logits


def _encode(logits: NDArray[np.float32], kept: int) -> tuple[NDArray[np.generic], ...] | None:
    """Turn logits into what a shard holds, array by array; nothing where float16 does not hold them."""
    if kept == logits.shape[1]:
        values = logits.astype(np.float16)
        return (values,) if np.isfinite(values).all() else None
    indices = np.argpartition(logits, -kept, axis=1)[:, -kept:]
    indices.sort(axis=1)
    values = np.take_along_axis(logits, indices, axis=1).astype(np.float16)
    top = logits.max(axis=1)
    log_sums = (np.log(np.exp(logits - top[:, None]).sum(axis=1)) + top).astype(np.float32)
    if not (np.isfinite(values).all() and np.isfinite(log_sums).all()):
        return None
    return values, indices.astype(_index_type(logits.shape[1])), log_sums


def _index_type(classes: int) -> np.dtype[np.unsignedinteger]:
    return np.dtype(np.uint16 if classes <= 2**16 else np.uint32)


# --- where caches lie ------------------------------------------------------------------------------


def cache_root() -> Path:
    """The folder of all caches: `EDGEKD_CACHE`, else `edgekd` in the user's cache folder."""
    return store.cache_place("teachers")


def exists(folder: Path) -> bool:
    """Whether a cache was begun in a folder."""
    return (folder / _MANIFEST).is_file()


def cache_folders() -> list[Path]:
    """All caches below `cache_root`, by name."""
    return sorted(manifest.parent for manifest in cache_root().glob(f"*/{_MANIFEST}"))


def clear_cache(folder: Path) -> int:
    """Delete a cache.

    Returns:
        The bytes that are free now.

    Raises:
        StoreError: Not a cache, or another edgekd is building it.
    """
    cache = TeacherCache.load(folder)
    with building(folder):
        freed = cache.disk_bytes
        # The manifest last: what is left of a clearing that was cut off still is a cache.
        for file in (*folder.glob("view-*.logits"), *folder.glob("validation-*.outputs")):
            file.unlink()
        (folder / _MANIFEST).unlink()
    shutil.rmtree(folder, ignore_errors=True)
    return freed


@contextlib.contextmanager
def building(folder: Path) -> Iterator[None]:
    """Hold a cache while it is built; another run that needs it waits."""
    from filelock import FileLock

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(folder, error) from error
    with FileLock(folder / ".lock"):
        for leftover in folder.glob(f"{store.PARTIAL}*"):
            leftover.unlink()
        yield
