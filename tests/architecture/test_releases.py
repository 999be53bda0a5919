"""The guide to releases says what is so."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path

import click
import pytest
import yaml  # type: ignore[import-untyped]  # its stubs are another package

from edgekd.cli import edgekd as command_line
from edgekd.config import DEFAULT_TOLERANCES, read_regressions

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "guides" / "releases.md").read_text(encoding="utf-8")
ACTION = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("line", re.findall(r"^edgekd (.*)$", GUIDE, re.MULTILINE))
def test_commands_of_the_guide_parse(line: str) -> None:
    name, *words = shlex.split(line)
    command = command_line.get_command(click.Context(command_line), name)
    assert command
    command.make_context(name, words)


def test_the_table_of_defaults_is_that_of_the_code() -> None:
    told: dict[str, str] = {}
    for metrics, limit in re.findall(r"^\| ([a-z][^|]*) \| ([\d.]+ (?:pt|%)) \|$", GUIDE, re.MULTILINE):
        told |= dict.fromkeys(
            re.findall(r"[a-z_\d]*_[a-z_]+|accuracy|f1|auc|spearman|perplexity|latency|energy", metrics), limit
        )
    assert told == DEFAULT_TOLERANCES


def test_the_table_of_a_recipe_is_one() -> None:
    (text,) = re.findall(r"```toml\n(.*?)```", GUIDE, re.DOTALL)
    assert len(read_regressions(tomllib.loads(text)["regressions"], "")) == 4


def test_the_workflow_gives_the_action_inputs_that_it_has() -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", GUIDE, re.DOTALL)
    (given,) = [step["with"] for step in yaml.safe_load(text)["jobs"]["gate"]["steps"] if "edgekd" in step["uses"]]
    assert given.keys() <= ACTION["inputs"].keys()
