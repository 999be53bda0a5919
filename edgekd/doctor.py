"""Says what is installed and which targets can be used, and the command that adds what is missing."""

from __future__ import annotations

import importlib.util
import platform
import shutil
import sys
from pathlib import Path

from edgekd import registry, store
from edgekd.config import load_target, target_files
from edgekd.errors import ConfigError
from edgekd.progress import Progress
from edgekd.records import BenchmarkSpec, Target
from edgekd.transports import Finding


def examine() -> tuple[Finding, ...]:
    """Look at Python, every package that edgekd can use, targets to be set up, and the disk; imports no package.

    >>> examine()[0].name
    'python'
    """
    version = platform.python_version()
    findings = [Finding(name="python", right=(3, 11) <= sys.version_info < (3, 14), detail=version)]
    for extra, packages in registry.EXTRAS.items():
        command = f"pip install 'edgekd[{extra}]'" if extra else "pip install edgekd"
        for distribution, module in packages:
            there = importlib.util.find_spec(module) is not None
            detail = store.tool_versions(distribution)[distribution] if there else "not installed"
            findings.append(Finding(name=distribution, right=there, detail=detail, next_step="" if there else command))
    for name, file in target_files().items():
        try:
            target = load_target(name)
        except ConfigError as error:
            findings.append(Finding(name=f"target {name}", right=False, detail=str(error), next_step=f"change {file}"))
            continue
        transport = registry.load("transports", target.transport)
        if hasattr(transport, "state"):
            findings.append(transport.state(target))
    free = shutil.disk_usage(".").free
    findings.append(
        Finding(
            name="disk",
            right=free > 1e9,
            detail=f"{free / 1e9:.0f} GB free here",
            next_step="" if free > 1e9 else "free at least 1 GB",
        )
    )
    return tuple(findings)


def check_target(target: Target) -> tuple[Finding, ...]:
    """Look whether a target can be reached, and whether its runtimes can be imported there.

    Raises:
        TargetError: It can't be reached at all.
    """
    from edgekd.stages.benchmark.session import Session

    with Session(target, BenchmarkSpec(), None, None, "single_label", None) as session:
        return tuple(session.check())


def set_up(target: Target, *, source: Path | None, keep: Path | None, progress: Progress) -> None:
    """Make what a target needs before it can be used.

    Args:
        target: Its transport knows how, or its runtimes.
        source: A folder with what would be downloaded.
        keep: A folder for what is downloaded.
        progress: Hears how far it is.

    Raises:
        ConfigError: There is nothing to set up.
        TargetError: Something can't be had, or does not run.
    """
    transport = registry.load("transports", target.transport)
    runtimes = [each for name in target.runtimes if hasattr(each := registry.load("runtimes", name), "set_up")]
    if hasattr(transport, "set_up") and len(runtimes) < len(target.runtimes):  # which need Python there
        transport.set_up(target, source=source, keep=keep, progress=progress)
    elif not runtimes:
        raise ConfigError(f"its transport '{target.transport}' has nothing to set up", where=target.name)
    if runtimes:
        with transport.connect(target) as connected:
            for runtime in runtimes:
                runtime.set_up(connected, target=target, source=source, keep=keep)
