"""Processes that threads wait for, and another thread may have to end."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Iterator


class Running:
    """Processes of a connection, each the head of a process group of its own."""

    def __init__(self) -> None:
        self._processes: set[subprocess.Popen[bytes]] = set()
        self._lock, self._ended = threading.Lock(), False

    @contextlib.contextmanager
    def noted(self, process: subprocess.Popen[bytes]) -> Iterator[None]:
        """Know of a process while it is waited for; one that comes after the end is killed at once."""
        with self._lock:
            self._processes.add(process)
            if self._ended:
                kill_group(process)
        try:
            yield
        finally:
            with self._lock:
                self._processes.discard(process)

    def end(self) -> None:
        """Kill all, and all that come."""
        with self._lock:
            self._ended = True
            for each in self._processes:
                kill_group(each)


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill a process that was not waited for yet, and what it started."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
