"""A tar file in the one form that edgekd writes: equal files give equal bytes, and no byte of it goes unchecked.

It is POSIX's ustar with owner, mode and time fixed, holds regular files alone, and isn't compressed: bytes of a
compressor differ between versions of zlib, and a file that can't grow can't be a bomb. `tar` reads it.
"""

from __future__ import annotations

import hashlib
import re
import tarfile
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from edgekd.errors import StoreError

MAX_FILES = 10_000
MAX_FILE_BYTES = 8**11 - 1  # what ustar's field for the size holds: 8 GiB
_MODE = 0o644
_CHUNK_BYTES = 1 << 20
_END_BYTES = 2 * tarfile.BLOCKSIZE
_KINDS = {
    tarfile.LNKTYPE: "a link",
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.FIFOTYPE: "a pipe",
    tarfile.DIRTYPE: "a folder",
}


@dataclass(frozen=True, kw_only=True)
class Member:
    """A file in an archive, and where its bytes begin."""

    offset: int
    size_bytes: int
    sha256: str


def write_archive(out: BinaryIO, files: Sequence[tuple[str, Path | bytes]]) -> dict[str, Member]:
    """Write files in the order given.

    Args:
        out: Opened for writing; a disk that is full is its `OSError`.
        files: Names with what they hold.

    Returns:
        What was written, by name; whoever knows the hashes can tell whether a file changed meanwhile.

    Raises:
        StoreError: A name that has no place in an archive, a file that can't be read or is too large.

    >>> import io
    >>> written = write_archive(io.BytesIO(), [("a.txt", b"text")])
    >>> written["a.txt"].sha256[:8], written["a.txt"].offset
    ('982d9e3e', 512)
    """
    names = _Names("the bundle")
    written: dict[str, Member] = {}
    place = 0
    for name, content in files:
        names.add(name)
        size = len(content) if isinstance(content, bytes) else _size_of(content)
        out.write(_header(name, size, "the bundle"))
        place += tarfile.BLOCKSIZE
        digest = hashlib.sha256()
        left = size
        for chunk in [content] if isinstance(content, bytes) else _chunks(content, size):
            digest.update(chunk)
            out.write(chunk)
            left -= len(chunk)
        if left:
            raise StoreError("became shorter while it was read", where=str(content))
        out.write(bytes(-size % tarfile.BLOCKSIZE))
        written[name] = Member(offset=place, size_bytes=size, sha256=digest.hexdigest())
        place += size + -size % tarfile.BLOCKSIZE
    out.write(bytes(_trailer_bytes(place)))
    return written


def read_archive(file: BinaryIO, where: str, limit_of: Callable[[str], int]) -> dict[str, Member]:
    """Hash every file of an archive, in one pass and little memory; nothing is written anywhere.

    Args:
        file: Opened for reading.
        where: Its name, for errors.
        limit_of: The size in bytes that a file of a name may have.

    Raises:
        StoreError: It is no such archive, differs from one in any byte outside the files, or holds what it must not.
    """
    names = _Names(where)
    found: dict[str, Member] = {}
    place = 0
    while any(block := _take(file, tarfile.BLOCKSIZE, where)):
        name, size = _read_header(block, place, where)
        names.add(name)
        if size > limit_of(name):
            raise StoreError(
                f"'{name}' says to have {size:,} bytes", where=where, allowed=f"{limit_of(name):,} for such a file"
            )
        place += tarfile.BLOCKSIZE
        digest, left = hashlib.sha256(), size
        while left:
            chunk = _take(file, min(left, _CHUNK_BYTES), where)
            digest.update(chunk)
            left -= len(chunk)
        if any(_take(file, -size % tarfile.BLOCKSIZE, where)):
            raise _damaged(where, f"something lies behind '{name}'")
        found[name] = Member(offset=place, size_bytes=size, sha256=digest.hexdigest())
        place += size + -size % tarfile.BLOCKSIZE
    rest = _trailer_bytes(place) - tarfile.BLOCKSIZE
    if any(_take(file, rest, where)) or file.read(1):
        raise _damaged(where, "something lies behind its end")
    return found


class _Names:
    """Names that can lie in one folder on any system, each once."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._files: dict[str, str] = {}
        self._folders: dict[str, str] = {}

    def add(self, name: str) -> None:
        """Take one more.

        Raises:
            StoreError: It leads out of the folder, or is one of the others on some system.
        """
        if fault := _fault_of(name):
            raise StoreError(f"{name!r} {fault}", where=self._where, allowed="paths below the folder, with '/'")
        parts = _folded(name).split("/")
        folders = ["/".join(parts[:depth]) for depth in range(1, len(parts))]
        whole = "/".join(parts)
        earlier = self._files.get(whole) or self._folders.get(whole)
        earlier = earlier or next((self._files[each] for each in folders if each in self._files), None)
        if earlier == name:
            raise StoreError(f"holds '{name}' twice", where=self._where)
        if earlier:
            raise StoreError(f"'{name}' and '{earlier}' are one file on some systems", where=self._where)
        self._files[whole] = name
        self._folders.update(dict.fromkeys(folders, name))
        if len(self._files) > MAX_FILES:
            raise StoreError(f"holds more than {MAX_FILES:,} files", where=self._where)


def _fault_of(name: str) -> str | None:
    if not name.isprintable():
        return "can't be printed"
    if "\\" in name:
        return "has a backslash"
    if re.match(r"[A-Za-z]:", name):
        return "names a drive"
    if name.startswith("/"):
        return "is an absolute path"
    if not {"", ".", ".."}.isdisjoint(name.split("/")):
        return "leads elsewhere"
    return None


def _folded(name: str) -> str:
    """What file systems that know no case, or one form of accents, take a name for."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _header(name: str, size: int, where: str) -> bytes:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = size, _MODE
    try:
        return entry.tobuf(tarfile.USTAR_FORMAT, "utf-8", "strict")
    except ValueError as error:  # too long a name, too large a file
        raise StoreError(f"'{name}' does not fit into a tar file: {error}", where=where) from None


def _read_header(block: bytes, place: int, where: str) -> tuple[str, int]:
    try:
        entry = tarfile.TarInfo.frombuf(block, "utf-8", "strict")
    except (tarfile.HeaderError, UnicodeDecodeError, ValueError):
        raise _damaged(where, f"no file begins at byte {place:,}") from None
    if entry.type != tarfile.REGTYPE:
        kind = _KINDS.get(entry.type, f"an entry of type {entry.type!r}")
        raise StoreError(f"{entry.name!r} is {kind}", where=where, allowed="files alone")
    if fault := _fault_of(entry.name):  # before it is written again
        raise StoreError(f"{entry.name!r} {fault}", where=where, allowed="paths below the folder, with '/'")
    if entry.size < 0 or _header(entry.name, entry.size, where) != block:
        raise _damaged(where, f"'{entry.name}' has an owner, a mode or a time of its own")
    return entry.name, entry.size


def _take(file: BinaryIO, count: int, where: str) -> bytes:
    content = file.read(count)
    if len(content) != count:
        raise StoreError("ends too early", where=where, next_step="fetch it again")
    return content


def _damaged(where: str, what: str) -> StoreError:
    return StoreError(
        f"not as edgekd writes bundles: {what}", where=where, next_step="fetch it again, or make it anew from the run"
    )


def _trailer_bytes(place: int) -> int:
    return _END_BYTES + -(place + _END_BYTES) % tarfile.RECORDSIZE


def _size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise StoreError(f"can't read it: {error.strerror}", where=str(path)) from None


def _chunks(path: Path, size: int) -> Iterator[bytes]:
    try:
        file = path.open("rb")
    except OSError as error:
        raise StoreError(f"can't read it: {error.strerror}", where=str(path)) from None
    with file:
        while size and (chunk := file.read(min(size, _CHUNK_BYTES))):
            size -= len(chunk)
            yield chunk
