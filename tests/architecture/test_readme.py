"""What the README tells people to type works, and its figures are those of the benchmarks."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

from edgekd.cli import edgekd as command_line

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = [
    line.strip()
    for text in (README, (ROOT / "docs" / "formats.md").read_text(encoding="utf-8"))
    for line in re.findall(r"^    (?:\w+=\S+ )?edgekd .*$", text, re.MULTILINE)
]
TARGETS = re.findall(r"^    make (\S+)", README, re.MULTILINE)


@pytest.mark.parametrize("line", COMMANDS)
def test_commands_of_the_readme_parse(line: str) -> None:
    words = shlex.split(line)
    words = words[words.index("edgekd") + 1 :]
    command: click.Command = command_line
    while isinstance(command, click.Group):
        name = words.pop(0)
        found = command.get_command(click.Context(command), name)
        assert found is not None, name
        command = found
    command.make_context(command.name, words)


def test_there_are_commands_to_test() -> None:
    assert len(COMMANDS) >= 10
    assert set(TARGETS) == {"demo", "test", "test-all"}


@pytest.mark.parametrize("target", TARGETS)
def test_make_knows_the_targets_of_the_readme(target: str) -> None:
    done = subprocess.run(["make", "--dry-run", target], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_figures_are_those_of_the_benchmarks() -> None:
    done = subprocess.run([sys.executable, ROOT / "tools" / "readme", "--check"], check=False)
    assert done.returncode == 0, "run tools/readme"
