"""The far side of adb: a daemon that real adb clients connect to, whose shell runs in a folder of this machine.

`python adbd.py FOLDER` prints its port; SIGUSR1 unplugs it. The protocol is that of Android's adb/protocol.txt.
"""

from __future__ import annotations

import os
import queue
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import pytest

from tests.transports.programs import write_program

_LARGEST = 64 * 1024
_STDIN, _STDOUT, _STDERR, _EXIT, _CLOSE_STDIN = range(5)
_GETPROP = """case "$1" in
ro.product.model) echo Folder ;; ro.build.version.release) echo 15 ;; ro.product.cpu.abi) echo arm64-v8a ;; *) echo ;;
esac"""
_BANNER = b"device::ro.product.name=edgekd;ro.product.model=Folder;ro.product.device=edgekd;features=shell_v2,cmd"


class Link:
    """One connection of a client."""

    def __init__(self, connection: socket.socket, folder: Path, *, locked: bool) -> None:
        self.connection, self.folder, self.locked, self.lock = connection, folder, locked, threading.Lock()
        self.streams: dict[int, Stream] = {}

    def send(self, name: bytes, one: int, two: int, content: bytes = b"") -> None:
        """Send one message."""
        (command,) = struct.unpack("<I", name)
        head = struct.pack("<6I", command, one, two, len(content), sum(content) & 0xFFFFFFFF, command ^ 0xFFFFFFFF)
        with self.lock, suppress(OSError):
            self.connection.sendall(head + content)

    def serve(self) -> None:
        """Take messages until the client is gone."""
        with self.connection.makefile("rb") as messages, suppress(OSError):
            while head := messages.read(24):
                _, one, two, size, _, _ = struct.unpack("<6I", head)
                self.take(head[:4], one, two, messages.read(size))
        for stream in self.streams.values():
            stream.taken.put(None)

    def take(self, name: bytes, one: int, two: int, content: bytes) -> None:
        """Answer one message."""
        if name in (b"CNXN", b"AUTH") and self.locked:
            # A token to sign; whatever the answer, there is another one.
            self.send(b"AUTH", 1, 0, bytes(20))
        elif name == b"CNXN":
            self.send(b"CNXN", 0x01000000, _LARGEST, _BANNER)
        elif name == b"OPEN":
            stream = Stream(self, len(self.streams) + 1, one)
            self.streams[stream.number] = stream
            self.send(b"OKAY", stream.number, one)
            threading.Thread(target=stream.run, args=(content.rstrip(b"\0").decode(),), daemon=True).start()
        elif two in self.streams:
            stream = self.streams[two]
            if name == b"WRTE":
                stream.taken.put(content)
                self.send(b"OKAY", two, one)
            elif name == b"OKAY":
                stream.ready.release()
            elif name == b"CLSE":
                stream.taken.put(None)
                stream.ready.release()


class Stream:
    """One service that a client opened: a shell whose three streams share this one, in packets."""

    def __init__(self, link: Link, number: int, peer: int) -> None:
        self.link, self.number, self.peer = link, number, peer
        self.taken: queue.Queue[bytes | None] = queue.Queue()
        self.ready, self.lock = threading.Semaphore(1), threading.Lock()

    def run(self, service: str) -> None:
        """Run a script as adbd does, and end the stream."""
        kind, _, script = service.partition(":")
        if kind.startswith("shell,v2"):
            self.shell(self.own(script), takes_lines=script.endswith("exec sh"))
        self.link.send(b"CLSE", self.number, self.peer)

    def own(self, script: str) -> str:
        """Paths of the phone's file system are those of the folder."""
        own = script.replace("/data/local/tmp", str(self.link.folder))
        for place in ("/sys/devices/system/cpu", "/sys/class/power_supply"):
            own = own.replace(place, f"{self.link.folder}{place}")
        return own

    def shell(self, script: str, *, takes_lines: bool) -> None:
        process = subprocess.Popen(
            ["sh", "-c", script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            env={**os.environ, "PATH": f"{self.link.folder / 'bin'}:{os.environ['PATH']}"},
        )
        threading.Thread(target=self.feed, args=(process, takes_lines), daemon=True).start()
        copies = [
            threading.Thread(target=self.copy, args=(file, kind), daemon=True)
            for file, kind in ((process.stdout, _STDOUT), (process.stderr, _STDERR))
        ]
        for each in copies:
            each.start()
        for each in copies:
            each.join()
        code = process.wait()
        self.packet(_EXIT, bytes([code if code >= 0 else 128 - code]))

    def copy(self, file: IO[bytes], kind: int) -> None:
        while content := os.read(file.fileno(), _LARGEST - 5):
            self.packet(kind, content)

    def packet(self, kind: int, content: bytes) -> None:
        with self.lock:
            # The client takes one message after the other.
            self.ready.acquire()
            self.link.send(b"WRTE", self.number, self.peer, struct.pack("<BI", kind, len(content)) + content)

    def feed(self, process: subprocess.Popen[bytes], takes_lines: bool) -> None:
        """Give the shell its input; where the client is gone, end it as adbd does."""
        pending = b""
        stdin = process.stdin or open(os.devnull, "wb")  # noqa: PTH123, SIM115 - never; for the type
        while (content := self.taken.get()) is not None:
            pending += content
            while len(pending) >= 5 and len(pending) >= 5 + (size := int.from_bytes(pending[1:5], "little")):
                with suppress(OSError, ValueError):
                    if pending[0] == _STDIN:
                        given = pending[5 : 5 + size]
                        stdin.write(self.own(given.decode()).encode() if takes_lines else given)
                        stdin.flush()
                    elif pending[0] == _CLOSE_STDIN:
                        stdin.close()
                pending = pending[5 + size :]
        with suppress(OSError, ValueError):
            stdin.close()
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGHUP)


def main(folder: Path, *words: str) -> None:
    """Listen on loopback until killed."""
    links: list[Link] = []

    def unplug(*_: object) -> None:
        for link in links:
            with suppress(OSError):
                link.connection.shutdown(socket.SHUT_RDWR)

    signal.signal(signal.SIGUSR1, unplug)
    with socket.create_server(("127.0.0.1", 0)) as server:
        sys.stdout.write(f"{server.getsockname()[1]}\n")
        sys.stdout.flush()
        while True:
            links.append(Link(server.accept()[0], folder, locked="--locked" in words))
            threading.Thread(target=links[-1].serve, daemon=True).start()


@dataclass(frozen=True, kw_only=True)
class Phone:
    """A folder that real adb clients take for a phone.

    Attributes:
        folder: `/data/local/tmp` over there; `bin` in it is first in PATH, for `getprop` and the like.
        serial: By which adb calls it.
        server_port: Of the client's server, which keeps this phone apart from those of the user.
    """

    folder: Path
    serial: str
    server_port: str
    process: subprocess.Popen[str]

    def unplug(self) -> None:
        """End every connection at once."""
        self.process.send_signal(signal.SIGUSR1)


@contextmanager
def serve(folder: Path) -> Iterator[Phone]:
    """Run a daemon until the block ends, and a client's server of its own; skips where there is no adb."""
    if shutil.which("adb") is None:
        pytest.skip("no adb: apt-get install adb")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    write_program(folder / "bin" / "getprop", _GETPROP)
    environment = {**os.environ, "ANDROID_ADB_SERVER_PORT": port, "HOME": str(folder)}
    subprocess.run(["adb", "start-server"], env=environment, check=True, capture_output=True)
    try:
        with phone(folder, port) as found:
            yield found
    finally:
        subprocess.run(["adb", "kill-server"], env=environment, check=False, capture_output=True)


@contextmanager
def phone(folder: Path, server_port: str, *words: str) -> Iterator[Phone]:
    """Run one daemon; words: `--locked` lets nobody in."""
    daemon = subprocess.Popen(
        [sys.executable, "-m", __name__, str(folder), *words],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    try:
        serial = f"127.0.0.1:{(daemon.stdout.readline() if daemon.stdout else '').strip()}"
        yield Phone(folder=folder, serial=serial, server_port=server_port, process=daemon)
    finally:
        daemon.kill()
        daemon.communicate()


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
