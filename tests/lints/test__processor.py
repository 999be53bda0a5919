"""This machine's processor is known to targets on it."""

import platform
from pathlib import Path

import pytest

from edgekd.config import load_target
from edgekd.lints import _processor, with_own_processor


def test_this_machine_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\nflags\t\t: fpu avx2 avx512_vnni\n\nprocessor\t: 1\nflags\t\t: fpu\n")
    monkeypatch.setattr(_processor, "_CPUINFO", cpuinfo)
    target = with_own_processor(load_target("host"))
    assert (target.arch, target.cpu_features) == (platform.machine(), ("fpu", "avx2", "avx512_vnni"))
    # What a target file says stands.
    assert with_own_processor(load_target("cortex-m4")) == load_target("cortex-m4")
    monkeypatch.setattr(_processor, "_CPUINFO", tmp_path / "none")
    assert with_own_processor(load_target("host")).cpu_features is None
