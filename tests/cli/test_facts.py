"""Setting up a target, through the installed command."""

from __future__ import annotations

import json
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


def test_the_list_says_where_each_target_comes_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    file = tmp_path / "edgekd" / "targets" / "desk.toml"
    file.parent.mkdir(parents=True)
    file.write_text('like = "raspberry-pi-5"\naddress = "pi@desk"\n')
    origins = {line.split()[0]: line for line in call("list").stdout.splitlines()[1:]}
    assert str(file) in origins["desk"]
    assert " edgekd " in origins["raspberry-pi-5"]
    found = {each["name"]: each for each in json.loads(call("list", "--json").stdout)}
    assert (found["desk"]["file"], found["desk"]["address"]) == (str(file), "pi@desk")
    assert found["desk"]["ram_bytes"] == found["raspberry-pi-5"]["ram_bytes"]
