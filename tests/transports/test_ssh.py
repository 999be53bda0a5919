"""What only a real OpenSSH server shows: keys, refusals, and connections that end too early."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from edgekd.errors import ConfigError, TargetError
from edgekd.records import Target
from edgekd.transports import Finished
from edgekd.transports.ssh import SshTransport, connect
from tests.transports.sshd import NAME, Server, make_key


@pytest.fixture
def changed(sshd: Server) -> Iterator[Server]:
    """A server whose client may be configured otherwise for one test."""
    known = (sshd.folder / "known_hosts").read_text()
    yield sshd
    sshd.configure()
    (sshd.folder / "known_hosts").write_text(known)


def refusal(target: Target) -> str:
    begun = time.monotonic()
    with pytest.raises(TargetError) as refused:
        connect(target)
    assert time.monotonic() - begun < 30
    text = str(refused.value)
    assert "\n" not in text
    return text


def scratch_folders() -> set[Path]:
    return set(Path("/tmp").glob("edgekd-??????"))  # noqa: S108 - where the far side makes them


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_an_unknown_host_key_is_refused(changed: Server, ssh: Target) -> None:
    (changed.folder / "known_hosts").write_text("")
    text = refusal(ssh)
    assert "Host key verification failed" in text
    assert f"compare the fingerprint: ssh {NAME}" in text


def test_a_changed_host_key_is_refused_even_where_the_user_is_lenient(
    changed: Server, ssh: Target, tmp_path: Path
) -> None:
    changed.configure(StrictHostKeyChecking="no")
    changed.know(make_key(tmp_path / "other"))
    assert "ssh-keygen -R" in refusal(ssh)


def test_a_key_that_it_does_not_know(changed: Server, ssh: Target, tmp_path: Path) -> None:
    make_key(tmp_path / "other")
    changed.configure(IdentityFile=str(tmp_path / "other"))
    text = refusal(ssh)
    assert "Permission denied" in text
    assert f"ssh-copy-id {NAME}" in text


def test_a_port_that_nobody_listens_at(changed: Server, ssh: Target) -> None:
    changed.configure(Port="1")
    text = refusal(ssh)
    assert "Connection refused" in text
    assert "is sshd running there" in text


def test_a_name_that_nobody_has(ssh: Target) -> None:
    text = refusal(replace(ssh, address="no-such-host.invalid"))
    assert "'Host no-such-host.invalid' to ~/.ssh/config" in text


def test_an_address_is_no_option_and_no_command(ssh: Target, tmp_path: Path) -> None:
    witness = tmp_path / "witness"
    with pytest.raises(ConfigError, match="address"):
        connect(replace(ssh, address=f"-oProxyCommand=touch {witness}"))
    for address in (f"x; touch {witness}", f"$(touch {witness})", f"`touch {witness}`@host"):
        refusal(replace(ssh, address=address))
    assert not witness.exists()


def test_without_ssh(ssh: Target, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "no 'ssh' on the path; install it" in refusal(ssh)


def test_a_program_that_crashes_says_by_which_signal(ssh: Target) -> None:
    with connect(ssh) as transport:
        died = transport.run([transport.python, "-c", "import os; os.kill(os.getpid(), 11)"], 60)
        of_its_own = transport.run(["sh", "-c", "exit 255"], 60)
    assert (died.code, of_its_own.code) == (128 + 11, 255)


def test_a_program_that_kills_its_shell_costs_only_that(ssh: Target) -> None:
    with connect(ssh) as transport:
        died = transport.run(["sh", "-c", "echo first; kill -KILL $PPID"], 60)
        assert (died.code != 0, died.stdout) == (True, "first\n")
        assert transport.run(["echo", "next"], 60) == Finished(code=0, stdout="next\n", stderr="")


def test_a_word_of_the_shell_is_no_program(ssh: Target) -> None:
    with connect(ssh) as transport:
        assert transport.run(["exit", "3"], 60).code == 127
        assert transport.run(["true"], 60).code == 0


def test_what_a_program_left_running_ends_with_the_connection(ssh: Target) -> None:
    seconds = f"85{os.getpid()}"
    with connect(ssh) as transport:
        transport.run(["sh", "-c", f"sleep {seconds} >/dev/null 2>&1 &"], 60)
        assert not subprocess.run(["pgrep", "-f", f"sleep {seconds}"], check=False).returncode
    wait_until(lambda: subprocess.run(["pgrep", "-f", f"sleep {seconds}"], check=False).returncode == 1)


def test_nothing_is_left_when_a_program_takes_too_long(ssh: Target) -> None:
    seconds = f"86{os.getpid()}"
    with connect(ssh) as transport, pytest.raises(TargetError, match=r"longer than 0\.5 s"):
        transport.run(["sh", "-c", f"sleep {seconds} & sleep {seconds}"], 0.5)
    wait_until(lambda: subprocess.run(["pgrep", "-f", f"sleep {seconds}"], check=False).returncode == 1)


def test_a_connection_that_breaks_leaves_nothing_there(sshd: Server, ssh: Target) -> None:
    before, seconds = scratch_folders(), f"87{os.getpid()}"
    transport = connect(ssh)
    assert scratch_folders() - before
    threading.Timer(1, sshd.drop).start()
    with pytest.raises(TargetError, match=f"connection is lost; see that it is on.*targets check {NAME}"):
        transport.run(["sh", "-c", f"sleep {seconds}"], 60)
    # Nothing of a lost connection is made anew behind one's back.
    with pytest.raises(TargetError, match="connection is lost"):
        transport.run(["true"], 60)
    with pytest.raises(TargetError, match="connection is lost"):
        transport.push(Path(__file__))
    transport.close()
    wait_until(lambda: scratch_folders() <= before)
    wait_until(lambda: subprocess.run(["pgrep", "-f", f"sleep {seconds}"], check=False).returncode == 1)


@pytest.mark.slow
def test_a_connection_that_breaks_at_any_moment_is_one_error(sshd: Server, ssh: Target, tmp_path: Path) -> None:
    before, seconds = scratch_folders(), f"84{os.getpid()}"
    (tmp_path / "file").write_bytes(bytes(10**6))

    def work(transport: SshTransport) -> None:
        while True:
            transport.run(["sh", "-c", f"sleep {seconds} & sleep 0.01"], 60)
            transport.pull(transport.push(tmp_path / "file"), tmp_path / "back")

    for hundredths in random.Random(0).sample(range(1, 200), 10):  # noqa: S311 - nothing secret
        with connect(ssh) as transport:
            timer = threading.Timer(hundredths / 100, sshd.drop)
            timer.start()
            with pytest.raises(TargetError, match="the connection is lost"):
                work(transport)
            timer.join()
    wait_until(lambda: scratch_folders() <= before)
    wait_until(lambda: subprocess.run(["pgrep", "-f", f"sleep {seconds}"], check=False).returncode == 1)


@pytest.mark.usefixtures("ssh")
def test_kill_9_leaves_nothing_there() -> None:
    before, seconds = scratch_folders(), f"88{os.getpid()}"
    program = (
        "from edgekd.records import Target; from edgekd.transports.ssh import connect\n"
        f"transport = connect(Target(name={NAME!r}, description='', runtimes=()))\n"
        f"print('connected', flush=True); transport.run(['sleep', '{seconds}'], 60)"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, env=dict(os.environ))
    assert process.stdout
    assert process.stdout.readline() == b"connected\n"
    wait_until(lambda: subprocess.run(["pgrep", "-f", f"sleep {seconds}"], check=False).returncode == 0)
    assert scratch_folders() - before
    process.kill()
    process.communicate()
    wait_until(lambda: scratch_folders() <= before)
    wait_until(lambda: subprocess.run(["pgrep", "-f", f"sleep {seconds}"], check=False).returncode == 1)


def test_commands_are_cheap(ssh: Target) -> None:
    with connect(ssh) as transport:
        begun = time.monotonic()
        for number in range(100):
            assert transport.run(["echo", str(number)], 60).stdout == f"{number}\n"
        # The bound of benchmarks/ is 5 s; here others may hold the processor.
        assert time.monotonic() - begun < 30


def test_no_room_there(ssh: Target, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(10**6))
    with connect(ssh) as transport:
        folder = transport.run(["pwd"], 60).stdout.strip()
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], check=False)
        if mounted.returncode:
            pytest.skip("only root may mount a small disk")
        try:
            with pytest.raises(TargetError, match=r"can't copy .*file: .*No space left on device; make room there"):
                transport.push(tmp_path / "file")
        finally:
            subprocess.run(["umount", folder], check=True)
