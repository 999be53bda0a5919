"""Arrays in an .npz file that may be damaged or hostile: no code in it runs, and every fault is one line."""

from __future__ import annotations

import struct
import zipfile
import zlib
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import numpy as np
from numpy.typing import NDArray

from edgekd.errors import DataError, did_you_mean

# What NumPy and zipfile raise on damaged or hostile files.
_UNREADABLE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    ValueError,
    EOFError,
    OSError,
    RuntimeError,  # encrypted, or compressed in an unknown way
    TypeError,
    LookupError,
    SyntaxError,
    OverflowError,
    MemoryError,
)


class Archive:
    """An open .npz file; a context manager.

    Args:
        path: The file.
        advice: What to do where an array is not there.
    """

    def __init__(self, path: Path, advice: str) -> None:
        self.path, self._advice = path, advice
        self._file: BinaryIO
        self._arrays: np.lib.npyio.NpzFile

    def __enter__(self) -> Self:
        """Open it.

        Raises:
            DataError: It is no .npz file.
        """
        try:
            self._file = self.path.open("rb")  # given a path, np.load leaves damaged files open
        except OSError as error:
            raise self._unreadable(error) from None
        try:
            fits = zipfile.is_zipfile(self._file)  # np.load would take other files for arrays or pickles
            self._file.seek(0)
            arrays = np.load(self._file, allow_pickle=False) if fits else None
        except _UNREADABLE as error:
            self._file.close()
            raise self._unreadable(error) from None
        if arrays is None:
            self._file.close()
            raise DataError("not an .npz file", where=str(self.path), next_step="make one with numpy.savez")
        self._arrays = arrays
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._arrays.close()
        self._file.close()

    def __contains__(self, key: str) -> bool:
        return key in self._arrays

    def names(self) -> list[str]:
        """Names of the arrays."""
        return list(self._arrays.files)

    def take(self, key: str) -> NDArray[np.generic]:
        """Read an array, in native byte order.

        Raises:
            DataError: There is none of this name, or it can't be read.
        """
        if key not in self._arrays:
            raise DataError(
                f"no array '{key}'",
                where=str(self.path),
                allowed=", ".join(name if name.isprintable() else repr(name) for name in self._arrays)
                or "none: it is empty",
                next_step=did_you_mean(key, self._arrays) or self._advice,
            )
        try:
            array: NDArray[np.generic] | bytes = self._arrays[key]
        except _UNREADABLE as error:
            raise self._unreadable(error) from None
        if isinstance(array, bytes):  # what NumPy gives for a member that is no array
            raise DataError(f"'{key}' is no array", where=str(self.path))
        # Files from other machines may hold the other byte order, which torch does not take.
        return array.astype(array.dtype.newbyteorder("="), copy=False)

    def _unreadable(self, error: BaseException) -> DataError:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        return DataError(f"not a readable .npz file ({reason})", where=str(self.path))
