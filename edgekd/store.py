"""The run folder: atomic writes, hashes, a lock, and stages that are skipped when nothing changed."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

from edgekd.errors import StoreError, write_error
from edgekd.packing import pack
from edgekd.parsing import parse_json
from edgekd.records import Conditions, Measurement

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

T = TypeVar("T")
_log = logging.getLogger("edgekd")
PARTIAL = ".partial-"
_SCALARS = {float, int, str, bool, type(None)}
_FLOAT = {float}
# Read whole, and some times as large in memory.
_LARGEST_JSON = 500_000_000
_BUFFER_BYTES = 2**20  # lines of many numbers are as long


def cache_place(name: str) -> Path:
    """Where one kind of cache lies: below `EDGEKD_CACHE`, else `edgekd` in the user's cache folder."""
    if place := os.environ.get("EDGEKD_CACHE"):
        return Path(place) / name
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edgekd" / name


def data_folders() -> list[Path]:
    """Where the user's files are looked for beside the working folder: the folders of `EDGEKD_DATA`."""
    return [Path(place) for place in os.environ.get("EDGEKD_DATA", "").split(os.pathsep) if place]


def sha256_of(path: Path) -> str:
    """Hash a file's bytes.

    Raises:
        StoreError: The file is missing or unreadable.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "empty"
    >>> file.touch()
    >>> sha256_of(file)[:8]
    'e3b0c442'
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise StoreError(f"can't read it: {error.strerror}", where=str(path)) from None


def hash_of_path(path: Path) -> str:
    """Hash a file, or all files of a folder with their places in it.

    Raises:
        StoreError: It is missing or unreadable.
    """
    # os.path.isdir is false where Path.is_dir raises, as on a name that is too long.
    if not os.path.isdir(path):  # noqa: PTH112 - see above
        return sha256_of(path)
    digest = hashlib.sha256()
    for file in sorted(each for each in path.rglob("*") if each.is_file()):
        digest.update(f"{file.relative_to(path).as_posix()}\0{sha256_of(file)}\0".encode())
    return digest.hexdigest()


def fingerprint(*parts: object) -> str:
    """Hash anything that JSON or a record can say; equal parts give equal fingerprints in any process.

    >>> fingerprint("a", 1) == fingerprint("a", 1)
    True
    """
    text = json.dumps([to_json(part, _digest) for part in parts], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def fingerprint_of(measurement: Measurement) -> str:
    """Hash a measurement by what it says: what is left out says nothing, whichever version reads it.

    >>> from edgekd.records import Conditions
    >>> size = Measurement(model_sha256="5e1f", model="m", format="onnx", precision="fp32", role="student",
    ...                    target="file", metric="file_size", unit="B", samples=(9.0,))
    >>> fingerprint_of(size) == fingerprint_of(dataclasses.replace(size, conditions=Conditions()))
    True
    """
    said = {**_said(measurement), "conditions": _said(measurement.conditions)}
    return fingerprint(said | {"samples": _digest(measurement.values)})


def _said(record: Measurement | Conditions) -> dict[str, Any]:
    defaults = _defaults_of(type(record))  # type: ignore[arg-type]  # types are hashable
    return {name: value for name, default in defaults if (value := getattr(record, name)) != default}


@functools.cache
def _defaults_of(kind: type[Measurement | Conditions]) -> tuple[tuple[str, object], ...]:
    return tuple((each.name, each.default) for each in dataclasses.fields(kind))


def _digest(numbers: Sequence[float] | NDArray[np.float64]) -> str:
    """Hash many floats as the bytes that they are: to write them as text takes most of the time of a gate."""
    import numpy as np  # of few commands

    return hashlib.sha256(np.asarray(numbers, dtype="<f8").tobytes()).hexdigest()


@functools.cache
def code_fingerprint(*modules: str) -> str:
    """Hash the sources of parts of edgekd, each a file or folder below the package (`"stages/export.py"`)."""
    root = Path(__file__).parent
    files: list[Path] = []
    for module in modules:
        place = root / module
        found = [place] if place.is_file() else [each for each in place.rglob("*") if each.is_file()]
        if not found:
            raise FileNotFoundError(place)
        # Templates and style sheets decide what a stage makes as much as code does.
        files += [each for each in found if each.suffix != ".pyc"]
    digest = hashlib.sha256()
    for file in sorted(files):
        digest.update(file.relative_to(root).as_posix().encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()


def tool_versions(*packages: str) -> dict[str, str]:
    """Installed versions by distribution name; `absent` where a package is not there. Imports none.

    >>> tool_versions("no-such-package")
    {'no-such-package': 'absent'}
    """
    from importlib import metadata  # slow, and of few commands

    found = {}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "absent"
    return found


def to_json(value: Any, floats: Callable[[Sequence[float]], object] = list) -> Any:
    """Turn records, paths and tuples into what `json` writes.

    Args:
        value: Of any kind.
        floats: What sequences of nothing but floats become.

    >>> to_json({"file": Path("a") / "b", "shape": (1, 2)})
    {'file': 'a/b', 'shape': [1, 2]}
    """
    if type(value) in _SCALARS:
        return value
    if names := _names_of(type(value)):  # type: ignore[arg-type]  # types are hashable
        return {name: to_json(getattr(value, name), floats) for name in names}
    if isinstance(value, Path):
        return value.as_posix()
    if isinstance(value, Mapping):
        return {str(key): to_json(each, floats) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return floats(value) if set(map(type, value)) == _FLOAT else [to_json(each, floats) for each in value]
    return value


@functools.cache
def _names_of(kind: type) -> tuple[str, ...]:
    """Names of a record's fields; none of another kind of value."""
    return tuple(each.name for each in dataclasses.fields(kind)) if dataclasses.is_dataclass(kind) else ()


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a path beside `path` to write to; it takes `path`'s place when the block ends well.

    Raises:
        StoreError: The disk is full or the folder is not writable; nothing is left behind.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "note.txt"
    >>> with atomic_path(file) as partial:
    ...     _ = partial.write_text("whole")
    >>> file.read_text()
    'whole'
    """
    partial = path.with_name(f"{PARTIAL}{os.getpid()}-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        raise write_error(path, error) from error
    finally:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            partial.unlink()


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    with atomic_path(path) as partial:
        partial.write_bytes(content)


def json_bytes(value: object, *, indent: int | None = 1) -> bytes:
    """Records as JSON, one of a list in each line; NaN is refused, because JSON has none.

    Many numbers of a measurement are packed (see `edgekd.packing`).

    Args:
        value: What `to_json` takes.
        indent: Of each depth; `None` writes one line, several times as fast.
    """
    if isinstance(value, list | tuple) and value and all(map(dataclasses.is_dataclass, value)):
        lines = (
            json.dumps(
                to_json(each, pack if isinstance(each, Measurement) else list), separators=(",", ":"), allow_nan=False
            )
            for each in value
        )
        return "[\n{}\n]\n".format(",\n".join(lines)).encode()
    separators = None if indent else (",", ":")
    return (json.dumps(to_json(value), indent=indent, separators=separators, allow_nan=False) + "\n").encode()


def write_json(path: Path, value: object) -> None:
    """Write records as JSON, whole or not at all."""
    write_bytes(path, json_bytes(value))


def read_json(path: Path, kind: type[T]) -> T:
    """Read a record (or `list[record]`) back and check it against its type.

    Raises:
        StoreError: Missing, not JSON, or not such a record; says which key.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "stage.json"
    >>> write_json(file, StageRecord(fingerprint="f1", outputs={}))
    >>> read_json(file, StageRecord).fingerprint
    'f1'
    """
    with opened_json(path) as file:
        return parse_json(file.read(), kind, str(path))


@contextlib.contextmanager
def opened_json(path: Path) -> Iterator[BinaryIO]:
    """Open a file of JSON that edgekd wrote.

    Raises:
        StoreError: Missing, unreadable, or larger than any of them is.
    """
    try:
        with path.open("rb", buffering=_BUFFER_BYTES) as file:
            size = path.stat().st_size
            if size > _LARGEST_JSON:
                raise StoreError(f"{size / 1e6:.0f} MB, more than edgekd writes", where=str(path))
            yield file
    except FileNotFoundError:
        raise StoreError("no such file", where=str(path)) from None
    except OSError as error:
        raise StoreError(f"can't read it: {error.strerror}", where=str(path)) from None


@dataclasses.dataclass(frozen=True, kw_only=True)
class StageRecord:
    """What a finished stage leaves behind: what it depended on, and what it made."""

    fingerprint: str
    outputs: Mapping[str, str]


class RunFolder:
    """A folder with one sub-folder a stage.

    Args:
        path: Made when missing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the folder for this process; the lock dies with the process, however it ends.

        Raises:
            StoreError: Another process holds it.
        """
        from filelock import FileLock, Timeout

        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise write_error(self.path, error) from error
        held = FileLock(self.path / ".lock", timeout=0)
        try:
            held.acquire()
        except Timeout:
            raise StoreError(
                "another edgekd is working in this run folder",
                where=str(self.path),
                next_step="wait for it, or choose another folder with --out",
            ) from None
        except OSError as error:
            raise write_error(self.path, error) from error
        try:
            for leftover in self.path.rglob(f"{PARTIAL}*"):
                shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
            yield
        finally:
            held.release()

    def stage(self, name: str) -> Path:
        """The folder of a stage."""
        return self.path / name

    def record(self, name: str) -> StageRecord | None:
        """What a stage left when it ended; nothing when it did not, or when that is damaged."""
        marker = self.stage(name) / "stage.json"
        if not marker.exists():
            return None
        try:
            return read_json(marker, StageRecord)
        except StoreError as error:
            _log.warning("%s; the step is done again", error.what)
            return None

    def is_done(self, name: str, fingerprint: str) -> bool:
        """Whether a stage ended with this fingerprint and its outputs are still the bytes it wrote."""
        record = self.record(name)
        return record is not None and record.fingerprint == fingerprint and not self.damaged(name)

    def damaged(self, name: str) -> list[str]:
        """Outputs of a stage whose bytes are missing or not those that it wrote."""
        record = read_json(self.stage(name) / "stage.json", StageRecord)
        folder = self.stage(name)
        return [
            file
            for file, digest in record.outputs.items()
            if not (folder / file).is_file() or sha256_of(folder / file) != digest
        ]

    def begin(self, name: str) -> Path:
        """Forget that a stage was done, keep its files (they may hold checkpoints), give its folder."""
        folder = self.stage(name)
        with contextlib.suppress(FileNotFoundError):
            (folder / "stage.json").unlink()
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def finish(self, name: str, fingerprint: str, outputs: Sequence[Path]) -> None:
        """Record that a stage is done; written last, so a stage is done wholly or not at all."""
        folder = self.stage(name)
        hashes = {output.relative_to(folder).as_posix(): sha256_of(output) for output in sorted(outputs)}
        write_json(folder / "stage.json", StageRecord(fingerprint=fingerprint, outputs=hashes))
