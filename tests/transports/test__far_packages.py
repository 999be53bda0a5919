"""Environments that are made over ssh: of real wheels where the Pythons agree, of small ones for what can go wrong."""

from __future__ import annotations

import ast
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import pytest

from edgekd.doctor import check_target
from edgekd.errors import ConfigError, StoreError, TargetError
from edgekd.records import Target
from edgekd.transports import _far_packages
from edgekd.transports.ssh import VENV, connect, set_up
from tests.transports import sshd as sshd_
from tests.transports.programs import write_program

PLACE = Path(VENV)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sshd_.Server]:
    """A machine of these tests' own."""
    with sshd_.serve(tmp_path_factory.mktemp("board")) as found:
        yield found


@pytest.fixture
def home(server: sshd_.Server) -> Path:
    """Its home, with nothing in it."""
    folder = server.folder / "home"
    shutil.rmtree(folder)
    folder.mkdir()
    return folder


@pytest.fixture
def board(server: sshd_.Server, home: Path, monkeypatch: pytest.MonkeyPatch) -> Target:
    del home
    monkeypatch.setenv("PATH", f"{server.path}{os.pathsep}{os.environ['PATH']}")
    return Target(name="board", description="", transport="ssh", address=sshd_.NAME, runtimes=("onnxruntime", "litert"))


def write_wheel(folder: Path, name: str, version: str = "1.0", source: str = "", tag: str = "py3-none-any") -> None:
    folder.mkdir(exist_ok=True)
    module = name.replace("-", "_")
    with zipfile.ZipFile(folder / f"{module}-{version}-{tag}.whl", "w") as wheel:
        wheel.writestr(f"{module}/__init__.py", source)
        wheel.writestr(f"{module}/interpreter.py", "")
        info = f"{module}-{version}.dist-info"
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        wheel.writestr(f"{info}/WHEEL", f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n")
        wheel.writestr(f"{info}/RECORD", "")


def versions(board: Target) -> list[str]:
    program = "import importlib.metadata; print([each.version for each in importlib.metadata.distributions()])"
    with connect(board) as transport:
        done = transport.run([transport.python, "-c", program], 60)
    assert not done.code, done.stderr
    found: list[str] = eval(done.stdout)  # noqa: S307 - a list of what this test wrote
    return sorted(found)


def test_what_runs_there_is_python_of_its_age() -> None:
    ast.parse(_far_packages._UNPACK, feature_version=(3, 9))
    ast.parse(_far_packages._LOOK, feature_version=(3, 4))  # so that an older one is told that it is too old


@pytest.mark.slow
def test_a_second_set_up_takes_the_place_of_the_first(
    board: Target, home: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("numpy", "onnxruntime", "ai-edge-litert"):
        write_wheel(tmp_path / "first", name)
    set_up(board, source=tmp_path / "first", keep=tmp_path / "kept")
    assert versions(board) == ["1.0"] * 3
    kept = sorted(file.name for file in (tmp_path / "kept").iterdir())
    assert kept == sorted(file.name for file in (tmp_path / "first").iterdir())
    write_wheel(tmp_path / "second", "numpy", "2.0")
    write_wheel(tmp_path / "second", "onnxruntime", "2.0")
    with caplog.at_level(logging.WARNING):
        set_up(board, source=tmp_path / "second")
    assert versions(board) == ["2.0"] * 2
    (said,) = (record.getMessage() for record in caplog.records)
    assert said.startswith("board: there is no wheel of ai-edge-litert for Python 3.")
    assert said.endswith("second; what works is onnxruntime")
    assert sorted(each.name for each in (home / PLACE).parent.iterdir()) == [".lock", PLACE.name]


def test_a_set_up_that_can_t_be_imported_changes_nothing(board: Target, home: Path, tmp_path: Path) -> None:
    write_wheel(tmp_path / "good", "numpy")
    write_wheel(tmp_path / "good", "onnxruntime")
    set_up(board, source=tmp_path / "good")
    write_wheel(tmp_path / "bad", "numpy", "2.0")
    write_wheel(tmp_path / "bad", "onnxruntime", "2.0", "raise ImportError('GLIBC_2.99 not found')")
    with pytest.raises(TargetError) as caught:
        set_up(board, source=tmp_path / "bad")
    text = str(caught.value)
    assert "onnxruntime 2.0 can't be imported by Python 3." in text
    assert "ImportError: GLIBC_2.99 not found" in text
    assert "there is no wheel of ai-edge-litert" in text
    assert "\n" not in text
    assert versions(board) == ["1.0"] * 2
    assert sorted(each.name for each in (home / PLACE).parent.iterdir()) == [".lock", PLACE.name]


@pytest.mark.parametrize(
    ("look", "words"),
    [
        ('[3, 8, "", "aarch64", "glibc 2.31"]', "board: its python3 is 3.8; allowed: 3.9 or newer"),
        ('[3, 12, "", "aarch64", ""]', "board: its C library is not glibc, which wheels of runtimes need"),
        ('[3, 11, "", "armv7l", "glibc 2.36"]', "there is no wheel of numpy for Python 3.11 on armv7l with glibc 2.36"),
    ],
)
def test_a_machine_that_nothing_fits_is_one_line(
    board: Target, home: Path, tmp_path: Path, look: str, words: str
) -> None:
    write_program(home / "bin" / "python3", f"echo Welcome\necho '{look}'")
    tag = "cp311-cp311-manylinux_2_28_aarch64"
    for name in ("numpy", "onnxruntime"):
        write_wheel(tmp_path / "wheels", name, tag=tag)
    with pytest.raises(TargetError) as caught:
        set_up(board, source=tmp_path / "wheels")
    assert str(caught.value).startswith(words) or words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_wheels_are_chosen_by_the_python_there(board: Target, home: Path, tmp_path: Path) -> None:
    # It only says what it is, and fails when it shall unpack: what was pushed lies in its arguments.
    look = """[ $# -gt 2 ] || exec echo '[3, 9, "", "armv7l", "glibc 2.31"]'"""
    write_program(home / "bin" / "python3", f'{look}\ncp "$3" {tmp_path / "pushed.zip"}\nexit 9')
    for tag in ("cp39-cp39-linux_armv7l", "cp39-cp39-manylinux_2_36_armv7l", "cp311-cp311-linux_armv7l"):
        write_wheel(tmp_path / "wheels", "numpy", tag=tag)
    write_wheel(tmp_path / "wheels", "onnxruntime", tag="cp39-cp39-manylinux2014_armv7l")
    with pytest.raises(TargetError, match="board: exit code 9"):
        set_up(board, source=tmp_path / "wheels")
    assert sorted(zipfile.ZipFile(tmp_path / "pushed.zip").namelist()) == [
        "numpy-1.0-cp39-cp39-linux_armv7l.whl",
        "onnxruntime-1.0-cp39-cp39-manylinux2014_armv7l.whl",
    ]


def test_a_folder_that_can_t_be_written_to_is_one_line(board: Target, tmp_path: Path) -> None:
    for name in ("numpy", "onnxruntime", "ai-edge-litert"):
        write_wheel(tmp_path / "wheels", name)
    (tmp_path / "kept").touch()
    with pytest.raises(StoreError, match="kept"):
        set_up(board, source=tmp_path / "wheels", keep=tmp_path / "kept")


def test_a_target_without_python_runtimes_has_nothing_to_set_up(board: Target) -> None:
    with pytest.raises(ConfigError, match="board: none of its runtimes needs Python packages"):
        set_up(replace(board, runtimes=()))


def test_without_python_there(board: Target, server: sshd_.Server) -> None:
    write_program(server.folder / "home" / "bin" / "python3", "exit 127")
    with pytest.raises(TargetError, match="board: exit code 127; install python3 there"):
        set_up(board)


def test_kill_9_leaves_the_old_one_or_none(home: Path, tmp_path: Path) -> None:
    for name in ("numpy", "onnxruntime"):
        write_wheel(tmp_path / "wheels", name, source=f"# {'x' * 10**6}")
    with zipfile.ZipFile(tmp_path / "wheels.zip", "w") as archive:
        for wheel in (tmp_path / "wheels").iterdir():
            archive.write(wheel, wheel.name)
    command = [sys.executable, "-c", _far_packages._UNPACK, str(tmp_path / "wheels.zip"), VENV, "numpy", "onnxruntime"]
    environment = {**os.environ, "HOME": str(home)}
    begun = time.monotonic()
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
    whole_s = time.monotonic() - begun
    before = sorted(file.name for file in (home / PLACE).rglob("*") if file.suffix != ".pyc")
    for part in range(1, 9):
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
        time.sleep(whole_s * part / 9)
        process.send_signal(signal.SIGKILL)
        process.wait()
        if (home / PLACE).exists():
            assert sorted(file.name for file in (home / PLACE).rglob("*") if file.suffix != ".pyc") == before
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
    assert sorted(each.name for each in (home / PLACE).parent.iterdir()) == [".lock", PLACE.name]


@pytest.mark.slow
def test_real_wheels_are_found_and_imported(board: Target, tmp_path: Path) -> None:
    names = ("numpy", "onnxruntime", "ai-edge-litert")
    there = subprocess.run(
        ["python3", "-c", "import sys; print(*sys.version_info[:2])"], capture_output=True, check=True
    )
    if tuple(map(int, there.stdout.split())) != sys.version_info[:2]:
        pytest.skip("this machine's python3 is of another version than this environment: its wheels don't fit")
    for name in names:
        pack_wheel(tmp_path, name)
    missing = {finding.name for finding in check_target(board) if not finding.right}
    assert missing == {"runtime onnxruntime", "runtime litert"}
    set_up(board, source=tmp_path)
    found = {finding.name: finding for finding in check_target(board)}
    assert all(finding.right for finding in found.values()), found
    assert found["runtime onnxruntime"].detail == metadata.version("onnxruntime")
    assert found["runtime litert"].detail == metadata.version("ai-edge-litert")
    assert f"{VENV}/bin/python" in found["python"].detail


def pack_wheel(folder: Path, name: str) -> None:
    """A wheel of what is installed here."""
    distribution = metadata.distribution(name)
    tag = next(line for line in (distribution.read_text("WHEEL") or "").splitlines() if line.startswith("Tag: "))
    stem = f"{name.replace('-', '_')}-{distribution.version}-{tag.removeprefix('Tag: ')}"
    with zipfile.ZipFile(folder / f"{stem}.whl", "w") as wheel:
        for file in distribution.files or ():
            if not file.parts[0].startswith("..") and file.suffix != ".pyc":
                wheel.write(str(file.locate()), str(file))
