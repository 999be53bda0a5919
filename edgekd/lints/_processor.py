"""What this machine's processor can do, for targets that do not say it."""

from __future__ import annotations

import dataclasses
import platform
from pathlib import Path

from edgekd.records import Target

_CPUINFO = Path("/proc/cpuinfo")


def with_own_processor(target: Target) -> Target:
    """Fill in what a target on this machine leaves out about the processor; others stay as they are.

    >>> with_own_processor(Target(name="far", description="", runtimes=("litert",), transport="ssh")).arch is None
    True
    """
    if target.transport != "local" or target.arch is not None or target.cpu_features is not None:
        return target
    return dataclasses.replace(target, arch=platform.machine(), cpu_features=_features())


def _features() -> tuple[str, ...] | None:
    """Instructions of this processor as Linux names them: `flags` on x86, `Features` on ARM; `None` elsewhere."""
    if not _CPUINFO.is_file():
        return None
    for line in _CPUINFO.read_text(encoding="utf-8").splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("flags", "Features"):
            return tuple(value.split())
    return None
