"""A real OpenSSH server on loopback, with keys of its own, which only this test's ssh knows."""

from __future__ import annotations

import getpass
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from edgekd.transports.ssh import VENV
from tests.transports.programs import write_program

NAME = "edgekd-pi"


@dataclass(frozen=True, kw_only=True)
class Server:
    """A running server.

    Attributes:
        folder: Keys, configurations and `bin/ssh`: the system's ssh, which reads `ssh_config` here. The far
            side's home is `home`, and `home/bin` is first in its PATH.
        port: On loopback.
        process: That listens; each connection is a child of it.
    """

    folder: Path
    port: int
    process: subprocess.Popen[bytes]

    @property
    def path(self) -> Path:
        """To be put first into PATH."""
        return self.folder / "bin"

    def configure(self, **changes: str) -> None:
        """Write ssh's configuration again."""
        settings = {
            "HostName": "127.0.0.1",
            "Port": str(self.port),
            "User": getpass.getuser(),
            "IdentityFile": str(self.folder / "key"),
            "IdentitiesOnly": "yes",
            "UserKnownHostsFile": str(self.folder / "known_hosts"),
            "GlobalKnownHostsFile": "none",
            "HostKeyAlias": NAME,
            **changes,
        }
        lines = [f"Host {NAME}", *(f'  {key} "{value}"' for key, value in settings.items())]
        (self.folder / "ssh_config").write_text("\n".join(lines) + "\n")

    def drop(self) -> None:
        """End every connection at once, as a cable that is pulled out does."""
        subprocess.run(["pkill", "-KILL", "-P", str(self.process.pid)], check=True)

    def know(self, public_key: Path) -> None:
        """Make a key the one that the host is known by."""
        (self.folder / "known_hosts").write_text(f"{NAME} {public_key.read_text()}")


def make_key(path: Path) -> Path:
    """An ed25519 key without a passphrase; gives the public one."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
    return path.with_suffix(".pub")


@contextmanager
def serve(folder: Path) -> Iterator[Server]:
    """Run a server in the foreground until the block ends; skips where there is none."""
    program = shutil.which("sshd", path="/usr/sbin:/usr/bin:/usr/local/sbin")
    if program is None or shutil.which("ssh") is None:
        pytest.skip("no sshd: apt-get install openssh-server")
    Path("/run/sshd").mkdir(exist_ok=True)  # where it drops privileges to; only root's is used
    host_key, user_key = make_key(folder / "host"), make_key(folder / "key")
    (folder / "authorized_keys").write_text(user_key.read_text())
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (folder / "sshd_config").write_text(
        f"ListenAddress 127.0.0.1:{port}\nHostKey {folder / 'host'}\nPidFile none\n"
        f"AuthorizedKeysFile {folder / 'authorized_keys'}\nStrictModes no\nUsePAM no\n"
        "PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\n"
        f'MaxStartups 100\nMaxSessions 50\nSetEnv "HOME={folder}/home" "PATH={folder}/home/bin:/usr/bin:/bin"\n'
    )
    # Where `set_up` puts packages: here those of this environment.
    python = folder / "home" / VENV / "bin" / "python"
    write_program(python, f'exec "{sys.executable}" "$@"')
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([program, "-D", "-e", "-f", folder / "sshd_config"], stderr=log)
    server = Server(folder=folder, port=port, process=process)
    server.configure()
    server.know(host_key)
    write_program(server.path / "ssh", f'exec {shutil.which("ssh")} -F "{folder}/ssh_config" "$@"')
    try:
        _wait(port, folder / "log")
        yield server
    finally:
        process.kill()
        process.wait()


def _wait(port: int, log: Path) -> None:
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError(log.read_text())
