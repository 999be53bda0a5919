"""A shell on a target that runs one program after another, behind a client such as ssh."""

from __future__ import annotations

import contextlib
import os
import re
import selectors
import subprocess
import time
from collections.abc import Sequence

from edgekd.transports import Finished
from edgekd.transports._running import kill_group

_GRACE_S = 5.0
_CHUNK_BYTES = 2**16
_LONGEST_END = 64


class FarShell:
    """Takes lines, and gives what they print and their exit code.

    Args:
        argv: The client's command line.
        token: What no program prints: a line puts it behind its output, with the exit code on stdout.

    Attributes:
        ended: Whether its output ended: a program killed it, or the connection is lost.
        group: Its process group over there.
    """

    def __init__(self, argv: Sequence[str], token: str) -> None:
        self.process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
        )
        self.ended, self.group = False, 0
        self._last_words = re.compile(rf"\n{token} ?(\d*)\n".encode())

    def ask(self, line: str, timeout_s: float) -> Finished:
        """Give it a line and wait for its last words on both streams.

        Raises:
            TimeoutError: They don't come.
        """
        deadline, code = time.monotonic() + timeout_s, 0
        if self.process.stdin:
            with contextlib.suppress(BrokenPipeError):  # then its output ends, too
                self.process.stdin.write(line.encode())
                self.process.stdin.flush()
        printed = {stream.fileno(): bytearray() for stream in (self.process.stdout, self.process.stderr) if stream}
        with selectors.DefaultSelector() as waiting:
            for stream in printed:
                waiting.register(stream, selectors.EVENT_READ)
            while waiting.get_map():
                ready = waiting.select(max(0.0, deadline - time.monotonic()))
                if time.monotonic() > deadline:
                    raise TimeoutError
                for stream in [key.fd for key, _ in ready]:
                    content, text = os.read(stream, _CHUNK_BYTES), printed[stream]
                    text += content
                    if end := self._last_words.search(text, max(0, len(text) - len(content) - _LONGEST_END)):
                        code = int(end[1] or code)
                        del text[end.start() :]
                    elif not content:
                        self.ended = True
                    else:
                        continue
                    waiting.unregister(stream)
        if self.ended:
            self.end()
            code = self.process.returncode
        return finished(code, *map(bytes, printed.values()))

    def end(self) -> None:
        """Let it end by itself, else kill it."""
        end_process(self.process)
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream:
                with contextlib.suppress(BrokenPipeError):  # of a line that it did not take
                    stream.close()


def finished(code: int, stdout: bytes, stderr: bytes) -> Finished:
    """The record of a program that ended."""
    return Finished(code=code, stdout=stdout.decode("utf-8", "replace"), stderr=stderr.decode("utf-8", "replace"))


def end_process(process: subprocess.Popen[bytes]) -> None:
    """Let a client end by itself, else kill it."""
    try:
        process.wait(timeout=_GRACE_S)
    except subprocess.TimeoutExpired:
        kill_group(process)
        process.wait()
