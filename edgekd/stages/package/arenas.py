"""The smallest arena in which TFLite Micro runs a file: it takes more to set one up than it then occupies."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from edgekd import child
from edgekd.errors import ExportError

STEP_BYTES = 16
# While memory is planned, the plan itself lies in the arena: 640 bytes of an autoencoder that then occupies 3,984.
_LARGEST = 64


def find_arenas(files: Sequence[tuple[Path, int]]) -> list[int]:
    """Find the arena of each file by trying, in a process of its own.

    Args:
        files: TFLite files that TFLite Micro runs, and the bytes that each occupies when it is set up.

    Returns:
        Bytes, multiples of 16: with 16 less it can't be set up.

    Raises:
        ExportError: TFLite Micro does not run a file in 64 times of what it occupies.
    """
    if not files:
        return []
    try:
        return child.call("TFLite Micro", _find_here, list(files))
    except child.ChildCrashError as error:
        raise ExportError(error.what, where=", ".join(path.name for path, _ in files)) from None


def _find_here(files: Sequence[tuple[Path, int]]) -> list[int]:
    from tflite_micro import runtime

    return [_find(runtime, path, occupied_bytes) for path, occupied_bytes in files]


def _find(runtime: Any, path: Path, occupied_bytes: int) -> int:
    content = path.read_bytes()
    # In steps; `too_small` fails, for it is less than what is occupied, or was tried.
    too_small = (occupied_bytes - 1) // STEP_BYTES
    enough, grown = too_small + 1, 1
    while not _runs(runtime, content, enough * STEP_BYTES):
        if enough * STEP_BYTES > _LARGEST * occupied_bytes:
            raise ExportError(
                f"TFLite Micro does not run it in an arena of {enough * STEP_BYTES} bytes",
                where=path.name,
                allowed=f"about the {occupied_bytes} bytes that it occupies",
                next_step="report this with the file",
            )
        too_small, enough, grown = enough, enough + grown, grown * 2
    while enough - too_small > 1:
        middle = (too_small + enough) // 2
        if _runs(runtime, content, middle * STEP_BYTES):
            enough = middle
        else:
            too_small = middle
    return enough * STEP_BYTES


def _runs(runtime: Any, content: bytes, arena_bytes: int) -> bool:
    """Try it in a fork: TFLite Micro, which there is for Linux only, crashes in some arenas that are too small."""
    forked = os.fork()
    if forked == 0:
        _try(runtime, content, arena_bytes)
    _, status = os.waitpid(forked, 0)
    return status == 0


def _try(runtime: Any, content: bytes, arena_bytes: int) -> NoReturn:
    failed = 1
    try:
        interpreter = runtime.Interpreter.from_bytes(content, arena_size=arena_bytes)
        # What lies there by chance is no token, and would be looked up outside of the table.
        with contextlib.suppress(IndexError):  # how it says that there is no further input
            for index in itertools.count():
                taken = interpreter.get_input_details(index)
                interpreter.set_input(np.zeros(taken["shape"], taken["dtype"]), index)
        interpreter.invoke()
        failed = 0
    finally:
        # Whatever was raised: this process is a copy, and must not go on as the one that it was forked from.
        os._exit(failed)
