"""Fixtures that all tests share."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from edgekd import store
from edgekd.config import load_target
from edgekd.errors import TargetError
from edgekd.records import Target
from edgekd.transports import emulated_arm64
from tests.transports import adbd as adbd_
from tests.transports import sshd as sshd_

# Before a fixture moves the caches.
_ARM64 = replace(load_target("arm64-emulated"), address=str(store.cache_place("arm64-root")))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of reference data and models; tests that need it skip where there is none."""
    folder = os.environ.get("EDGEKD_TEST_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("set EDGEKD_TEST_DATA to a folder of reference data and models")
    return Path(folder)


@pytest.fixture(scope="session", autouse=True)
def _no_user_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Runs that several tests share see neither the user's caches and targets nor an emulated arm64."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGEKD_CACHE", str(tmp_path_factory.mktemp("caches")))
        patch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("config")))
        yield


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep teachers' caches apart from the user's own, and each test's from those of others."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("EDGEKD_CACHE", str(folder))
    return folder


@pytest.fixture(scope="session")
def arm64() -> Target:
    """The emulated arm64 of this user; tests that need it skip where it is not set up."""
    try:
        emulated_arm64.facts(_ARM64)
    except TargetError as error:
        pytest.skip(str(error))
    return _ARM64


@pytest.fixture(scope="session")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sshd_.Server]:
    """A real OpenSSH server on loopback."""
    with sshd_.serve(tmp_path_factory.mktemp("sshd")) as server:
        yield server


@pytest.fixture
def ssh(sshd: sshd_.Server, monkeypatch: pytest.MonkeyPatch) -> Target:
    """This machine, by way of that server."""
    monkeypatch.setenv("PATH", f"{sshd.path}{os.pathsep}{os.environ['PATH']}")
    return Target(name=sshd_.NAME, description="", transport="ssh", runtimes=("onnxruntime", "litert"))


@pytest.fixture(scope="session")
def adbd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[adbd_.Phone]:
    """A folder that real adb clients take for a phone."""
    with adbd_.serve(tmp_path_factory.mktemp("phone")) as found:
        yield found


@pytest.fixture
def phone(adbd: adbd_.Phone, monkeypatch: pytest.MonkeyPatch) -> Target:
    """A folder of this machine, by way of adb."""
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", adbd.server_port)
    return Target(name="phone", description="", transport="adb", runtimes=(), address=adbd.serial)
