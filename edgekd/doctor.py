"""Says what is installed and which targets can be used, and the command that adds what is missing."""

from __future__ import annotations

import importlib.util
import platform
import shutil
import sys

from edgekd import registry, store
from edgekd.records import Target
from edgekd.transports import Finding


def examine() -> tuple[Finding, ...]:
    """Look at Python, every package that edgekd can use, and the disk; imports none of them.

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
    """Look whether a target can be reached and has what it needs."""
    with registry.function("transports", target.transport)(target) as transport:
        findings = list(transport.check())
    for name in target.runtimes:
        module = str(registry.load("runtimes", name).REQUIRES)
        there = importlib.util.find_spec(module) is not None
        extra = registry.EXTRA_OF.get(module, "")
        findings.append(
            Finding(
                name=f"runtime {name}",
                right=there,
                detail="installed" if there else "not installed",
                next_step="" if there else f"pip install 'edgekd[{extra}]'" if extra else "pip install edgekd",
            )
        )
    return tuple(findings)
