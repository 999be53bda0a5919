"""Setting up a target, through the installed command."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


def call(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "edgekd", "targets", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "COLUMNS": "300"},
    )


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("setup", "host"), 2, "host: its transport 'local' has nothing to set up"),
        (("setup", "arm64-emulated", "--from", "."), 3, "no package or wheel of python3, libstdc++6, numpy"),
        (("check", "arm64-emulated"), 3, "make it: edgekd targets setup arm64-emulated"),
    ],
)
def test_what_can_t_be_done_is_one_line(
    arguments: tuple[str, ...], code: int, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    done = call(*arguments)
    assert done.returncode == code
    assert words in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
