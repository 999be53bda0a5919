"""What only a real adb client shows: phones that are not there, not alone or not ready, and cables pulled out."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from edgekd.errors import ConfigError, TargetError
from edgekd.records import Target
from edgekd.transports.adb import connect
from tests.transports import adbd as adbd_


def refusal(target: Target) -> str:
    with pytest.raises(TargetError) as refused:
        connect(target)
    text = str(refused.value)
    assert "\n" not in text
    return text


def adb(*words: str) -> None:
    subprocess.run(["adb", *words], check=True, capture_output=True, timeout=30)


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def is_running(words: str) -> bool:
    return subprocess.run(["pgrep", "-f", words], check=False, capture_output=True).returncode == 0


def scratch_folders(phone: adbd_.Phone) -> list[Path]:
    return list(phone.folder.glob("edgekd-*"))


def test_no_phone(phone: Target) -> None:
    adb("disconnect")
    text = refusal(replace(phone, address=None))
    assert "phone: no phone; plug it in and allow USB debugging" in text
    assert "no phone 'R5CT123'" in refusal(replace(phone, address="R5CT123"))


def test_the_only_phone_needs_no_serial(phone: Target, adbd: adbd_.Phone) -> None:
    adb("disconnect")
    adb("connect", adbd.serial)
    with connect(replace(phone, address=None)) as transport:
        assert transport.run(["getprop", "ro.product.model"], 30).stdout == "Folder\n"


def test_two_phones_and_no_serial(phone: Target, adbd: adbd_.Phone, tmp_path: Path) -> None:
    with adbd_.phone(tmp_path, adbd.server_port) as other:
        for each in (adbd, other):
            adb("connect", each.serial)
        text = refusal(replace(phone, address=None))
        assert text.startswith("phone: 2 phones: ")
        assert 'address = "127.0.0.1:' in text
        with connect(replace(phone, address=other.serial)) as transport:
            assert Path(transport.run(["pwd"], 30).stdout.strip()).parent == tmp_path
        adb("disconnect", other.serial)


def test_a_phone_that_does_not_let_this_computer_in(phone: Target, adbd: adbd_.Phone, tmp_path: Path) -> None:
    with adbd_.phone(tmp_path, adbd.server_port, "--locked") as locked:
        subprocess.run(["adb", "connect", locked.serial], check=False, capture_output=True, timeout=30)
        assert "unlock it and allow USB debugging" in refusal(replace(phone, address=locked.serial))
        adb("disconnect", locked.serial)


def test_an_address_is_no_option(phone: Target) -> None:
    with pytest.raises(ConfigError, match="address"):
        connect(replace(phone, address="-a"))


def test_without_adb(phone: Target, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "no 'adb' on the path; install Android's platform tools" in refusal(phone)


def test_a_program_that_crashes_says_by_which_signal(phone: Target) -> None:
    with connect(phone) as transport:
        assert transport.run(["sh", "-c", "kill -SEGV $$"], 60).code == 128 + 11
        assert transport.run(["sh", "-c", "exit 255"], 60).code == 255


def test_nothing_is_left_when_a_program_takes_too_long(phone: Target) -> None:
    seconds = f"86{os.getpid()}"
    with connect(phone) as transport, pytest.raises(TargetError, match=r"longer than 0\.5 s"):
        transport.run(["sh", "-c", f"sleep {seconds} & sleep {seconds}"], 0.5)
    wait_until(lambda: not is_running(f"sleep {seconds}"))


def test_a_cable_that_is_pulled_out_leaves_nothing_there(phone: Target, adbd: adbd_.Phone) -> None:
    seconds = f"87{os.getpid()}"
    transport = connect(phone)
    assert scratch_folders(adbd)
    threading.Timer(1, adbd.unplug).start()
    with pytest.raises(TargetError, match=r"connection is lost; see that it is on.*targets check phone"):
        transport.run(["sh", "-c", f"sleep {seconds}"], 60)
    with pytest.raises(TargetError, match="connection is lost"):
        transport.push(Path(__file__))
    transport.close()
    wait_until(lambda: not scratch_folders(adbd))
    wait_until(lambda: not is_running(f"sleep {seconds}"))


def test_kill_9_leaves_nothing_there(phone: Target, adbd: adbd_.Phone) -> None:
    seconds = f"88{os.getpid()}"
    program = (
        "from edgekd.records import Target; from edgekd.transports.adb import connect\n"
        f"transport = connect(Target(name='phone', description='', runtimes=(), address={phone.address!r}))\n"
        f"print('connected', flush=True); transport.run(['sleep', '{seconds}'], 60)"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert process.stdout
    assert process.stdout.readline() == b"connected\n"
    wait_until(lambda: is_running(f"sleep {seconds}"))
    process.kill()
    process.communicate()
    wait_until(lambda: not scratch_folders(adbd))
    wait_until(lambda: not is_running(f"sleep {seconds}"))
