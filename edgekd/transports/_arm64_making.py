"""Makes an arm64 root file system of Debian packages and wheels, without root and without running their scripts."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from edgekd import store
from edgekd.errors import StoreError, write_error
from edgekd.progress import Progress
from edgekd.transports._arm64_root import (
    EMULATORS,
    PROCESSOR,
    Root,
    command,
    environment,
    find_emulator,
    python_of,
    write_root,
)
from edgekd.transports._setting_up import RUNTIMES, FarPython, SetUp, name_and_version, pip_download

# libstdc++6 is what wheels link to; all else comes with Python.
_PACKAGES = ("python3", "libstdc++6")
_STEPS = 6
_WHEELS_AT = Path("usr/lib/python3/dist-packages")  # where Debian's Python looks
# What the runtimes must not read of this machine: they choose kernels, and count caches, by these.
_PROCESSOR_INFO = """processor\t: 0
model name\t: Cortex-A76, emulated by QEMU
BogoMIPS\t: 100.00
Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x4
CPU part\t: 0xd0b
CPU revision\t: 1
"""
_OF_PROCESSOR = {
    "proc/cpuinfo": _PROCESSOR_INFO,
    **{f"sys/devices/system/cpu/{name}": "0\n" for name in ("possible", "present", "online")},
}


def make_root(folder: Path, target: str, *, source: Path | None, keep: Path | None, progress: Progress) -> Root:
    """Make a root file system in `folder`; what was there stays until the new one has been tried.

    Args:
        folder: Where it shall lie.
        target: For errors.
        source: A folder with packages and wheels; without one they are downloaded.
        keep: A folder that gets a copy of all that went in.
        progress: Told of each step.

    Raises:
        TargetError: Something can't be had, or does not run.
        StoreError: The folder can't be written to.
    """
    from filelock import FileLock

    way_out = (
        f"on Debian or Ubuntu with a network: edgekd targets setup {target} --keep FOLDER; then here: --from FOLDER"
    )
    work = SetUp(target=target, source=source, keep=keep, progress=progress, way_out=way_out)
    if folder.exists() and not (folder / "root.json").exists():
        raise StoreError("not a root file system", where=str(folder), next_step="choose a folder that is not there yet")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_name(f".{folder.name}.lock")):
            for leftover in folder.parent.glob(f"{store.PARTIAL}*-{folder.name}"):
                shutil.rmtree(leftover)
            partial = folder.with_name(f"{store.PARTIAL}{os.getpid()}-{folder.name}")
            progress.start("set up", _STEPS)
            try:
                root = _make(partial, work)
                old = folder.with_name(f"{store.PARTIAL}{os.getpid()}-old-{folder.name}")
                if folder.exists():
                    folder.replace(old)
                partial.replace(folder)
                shutil.rmtree(old, ignore_errors=True)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
                progress.end()
    except OSError as error:
        raise write_error(folder, error) from error
    return root


def _make(partial: Path, work: SetUp) -> Root:
    with tempfile.TemporaryDirectory(prefix="edgekd-") as scratch:
        files = Path(scratch) / "files"
        files.mkdir()
        debs, wheels = _given(work, work.source) if work.source else _downloaded(work, files)
        work.copy((*debs, *wheels))
        _unpack(work, partial, debs)
        work.progress.advance()
        for wheel in wheels:
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(partial / _WHEELS_AT)
        work.progress.advance()
    for name, content in _OF_PROCESSOR.items():
        (partial / name).parent.mkdir(parents=True, exist_ok=True)
        (partial / name).write_text(content, encoding="ascii")
    root = Root(
        processor=PROCESSOR,
        python=_try_out(work, partial, [name_and_version(wheel)[0] for wheel in wheels]),
        wheels=dict(name_and_version(wheel) for wheel in wheels),
        packages=dict(name_and_version(deb) for deb in debs),
    )
    write_root(partial, root)
    work.progress.advance()
    return root


def _given(work: SetUp, source: Path) -> tuple[list[Path], list[Path]]:
    debs, wheels = (sorted(source.rglob(pattern)) for pattern in ("*.deb", "*.whl"))
    there = {name_and_version(file)[0] for file in (*debs, *wheels)}
    if missing := [name for name in (*_PACKAGES, *RUNTIMES) if name not in there]:
        raise work.error(f"{source} has no package or wheel of {', '.join(missing)}")
    for _ in range(_STEPS - 3):
        work.progress.advance()
    return debs, wheels


def _downloaded(work: SetUp, files: Path) -> tuple[list[Path], list[Path]]:
    debs = _fetch_packages(work, "arm64", _PACKAGES, files)
    work.progress.advance()
    if work.keep or not any(map(shutil.which, EMULATORS)):
        own = work.call(["dpkg", "--print-architecture"], "finding this machine's architecture").strip()
        found = _fetch_packages(work, own, ("qemu-user-static",), files)
        debs += [deb for deb in found if deb.name.startswith("qemu-user")]
    work.progress.advance()
    (files / "wheels").mkdir()
    wheels = _fetch_wheels(work, debs, files / "wheels")
    work.progress.advance()
    return debs, wheels


def _fetch_packages(work: SetUp, architecture: str, names: Iterable[str], files: Path) -> list[Path]:
    """Let apt find packages and what they depend on in this machine's sources, as if nothing were installed."""
    state = files / architecture
    archives = state / "cache" / "archives"
    for folder in (state / "lists" / "partial", archives / "partial"):
        folder.mkdir(parents=True)
    (state / "status").touch()
    settings = {
        "Dir::State": state,
        "Dir::State::lists": state / "lists",
        "Dir::State::status": state / "status",
        "Dir::Cache": state / "cache",
        "Dir::Etc::preferencesparts": "/dev/null",
        "APT::Architecture": architecture,
        "APT::Architectures": architecture,
        "APT::Install-Recommends": "0",
        "APT::Keep-Downloaded-Packages": "1",
        "APT::Sandbox::User": "",  # it may not enter a folder of ours
        "Acquire::Languages": "none",
        "Acquire::Retries": "1",
        "Debug::NoLocking": "1",
    }
    apt = ["apt-get", "-q", *(word for key, value in settings.items() for word in ("-o", f"{key}={value}"))]
    work.call([*apt, "update"], f"reading apt's sources for {architecture}")
    work.call([*apt, "install", "-y", "--download-only", *names], f"downloading packages of {architecture}")
    return sorted(archives.glob("*.deb"))


def _fetch_wheels(work: SetUp, debs: Sequence[Path], files: Path) -> list[Path]:
    """Let pip fetch the versions of this environment, for the Python and the C library of the packages."""
    versions = dict(map(name_and_version, debs))
    python = re.match(r"3\.\d+", versions["python3"])
    glibc = re.match(r"2\.(\d+)", versions["libc6"])
    if not python or not glibc:
        raise work.error(
            f"python3 {versions['python3']} and libc6 {versions['libc6']} are no versions that edgekd knows"
        )
    here = store.tool_versions(*RUNTIMES)
    if absent := [name for name, version in here.items() if version == "absent"]:
        raise work.error(f"not in this environment, so of no known version: {', '.join(absent)}")
    far = FarPython(version=python[0], abi=f"cp{python[0].replace('.', '')}", machine="aarch64", glibc=int(glibc[1]))
    wanted = [f"{name}=={version}" for name, version in here.items()]
    work.call(pip_download(far, wanted, files), "downloading wheels for arm64")
    return sorted(files.glob("*.whl"))


def _unpack(work: SetUp, root: Path, debs: Iterable[Path]) -> None:
    """Lay out packages as dpkg does, without their scripts; the emulator's file goes to the top."""
    for name in ("lib", "bin", "sbin"):
        (root / "usr" / name).mkdir(parents=True)
        (root / name).symlink_to(Path("usr") / name)
    tar = ["tar", "-x", "--keep-directory-symlink", "--no-same-owner", "-C"]
    for deb in debs:
        place = root / ".emulator" if deb.name.startswith("qemu-user") else root
        place.mkdir(exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=root, suffix=".tar") as content:
            work.call(
                ["sh", "-c", 'dpkg-deb --fsys-tarfile "$1" > "$2"', "sh", str(deb), content.name], f"reading {deb.name}"
            )
            work.call([*tar, str(place), "-f", content.name], f"unpacking {deb.name}")
    for name in EMULATORS:
        file = root / ".emulator" / "usr" / "bin" / name
        if file.is_file():
            file.resolve().replace(root / EMULATORS[0])
            break
    shutil.rmtree(root / ".emulator", ignore_errors=True)


def _try_out(work: SetUp, root: Path, wheels: Iterable[str]) -> str:
    """Import all that is in it, which also compiles it; gives Python's version."""
    modules = [RUNTIMES[name] for name in wheels if name in RUNTIMES]
    program = f"import platform, {', '.join(modules)}; print(platform.python_version())"
    folder = root.resolve()
    argv = command(find_emulator(folder, work.target), folder, PROCESSOR, [python_of(folder), "-c", program])
    return work.call(argv, "importing the runtimes on arm64", env=environment()).strip()
