"""The action's steps and the guide's snippets do what they say."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import click
import onnx
import pytest
import yaml  # type: ignore[import-untyped]  # its stubs are another package
from onnx import TensorProto, helper

from edgekd import registry
from edgekd.cli import edgekd as command_line

ROOT = Path(__file__).parents[2]
ACTION = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
GUIDE = (ROOT / "docs" / "guides" / "ci.md").read_text(encoding="utf-8")
INSTALL, GATE = ACTION["runs"]["steps"]
BUDGETS = '[[budgets]]\nmetric = "file_size"\nlimit = "{limit}"\n'


def check_schema(schema: str, file: Path) -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def run_step(
    step: dict[str, Any], folder: Path, inputs: dict[str, str], **more: str
) -> subprocess.CompletedProcess[str]:
    """Run a step as GitHub's runner runs it: its environment, its shell, its files."""
    given = {name: str(spec.get("default", "")) for name, spec in ACTION["inputs"].items()} | inputs
    context = {f"inputs.{name}": value for name, value in given.items()} | {"github.action_path": str(ROOT)}
    own = {
        name: re.sub(r"\$\{\{ (\S+) \}\}", lambda match: context[match[1]], value)
        for name, value in step["env"].items()
    }
    files = {name: str(folder / name) for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")}
    script = folder / "step.sh"
    script.write_text(step["run"])
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", script],
        cwd=folder,
        env={**os.environ, "RUNNER_TEMP": str(folder / "temp"), **files, **own, **more},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A checkout with a model file and budgets, and edgekd as the first step installs it."""
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "rectifier", ends[:1], ends[1:])
    (tmp_path / "my models").mkdir()
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), tmp_path / "my models" / "a.onnx")
    (tmp_path / "ok.toml").write_text(BUDGETS.format(limit="1 kB"))
    (tmp_path / "tight.toml").write_text(BUDGETS.format(limit="10 B"))
    command = tmp_path / "temp" / "edgekd" / "bin" / "edgekd"
    command.parent.mkdir(parents=True)
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m edgekd "$@"\n')
    command.chmod(0o755)
    return tmp_path


def test_the_action_is_one() -> None:
    check_schema("vendor.github-actions", ROOT / "action.yml")


def test_scripts_hold_no_inputs() -> None:
    assert [step["name"] for step in ACTION["runs"]["steps"] if "${{" in step["run"]] == []


def test_a_pass_passes_and_writes_what_was_asked_for(workspace: Path) -> None:
    inputs = {"run": "my models", "budgets": "ok.toml", "write": "junit=out/a b.xml\nbadge=badge.svg\n"}
    done = run_step(GATE, workspace, inputs)
    assert done.returncode == 0, done.stderr
    assert (workspace / "GITHUB_OUTPUT").read_text() == "exit-code=0\n"
    assert "✅ pass" in (workspace / "GITHUB_STEP_SUMMARY").read_text(encoding="utf-8")
    assert "::notice title=edgekd gate::pass: 1 checks" in done.stderr
    assert (workspace / "out" / "a b.xml").exists()
    assert (workspace / "badge.svg").exists()


def test_a_refusal_fails_the_step_with_its_code_and_annotations(workspace: Path) -> None:
    done = run_step(GATE, workspace, {"run": "my models", "budgets": "tight.toml", "write": "sarif=e.sarif"})
    assert done.returncode == 1, done.stderr
    assert (workspace / "GITHUB_OUTPUT").read_text() == "exit-code=1\n"
    assert ",file=tight.toml,line=1::" in done.stderr
    assert (workspace / "e.sarif").exists()


def test_overrides_and_silence(workspace: Path) -> None:
    inputs = {"run": "my models", "budgets": "ok.toml", "set": 'budgets.0.limit="1 B"', "annotate": "false"}
    done = run_step(GATE, workspace, inputs)
    assert done.returncode == 1
    assert "::" not in done.stderr
    assert not (workspace / "GITHUB_STEP_SUMMARY").exists()


def test_the_last_release_is_passed_on(workspace: Path) -> None:
    inputs = {"run": "my models", "budgets": "ok.toml", "baseline": "my models", "write": "junit=e.xml"}
    done = run_step(GATE, workspace, inputs)
    assert done.returncode == 0, done.stderr
    assert "file size increase" in (workspace / "e.xml").read_text(encoding="utf-8")


def test_inputs_are_no_commands(workspace: Path) -> None:
    run_step(GATE, workspace, {"run": "$(touch pwned); `touch pwned`", "budgets": '"; touch pwned; "'})
    done = run_step(GATE, workspace, {"run": "--help"})
    assert done.returncode == 2
    assert not (workspace / "pwned").exists()


@pytest.mark.slow
@pytest.mark.timeout(900)  # pip fetches the build backend
def test_the_first_step_installs_the_action_s_own_edgekd(tmp_path: Path) -> None:
    # What it depends on is here already; edgekd itself is not to be found there.
    packages = tmp_path / "packages"
    packages.mkdir()
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        if "edgekd" not in entry.name.lower():
            (packages / entry.name).symlink_to(entry)
    env = {"PYTHONPATH": str(packages)}
    done = run_step(INSTALL, tmp_path, {"run": "", "python": sys.executable}, **env)
    if done.returncode and "hatchling" in done.stderr:
        pytest.skip("the build backend can't be fetched here")
    assert done.returncode == 0, done.stderr
    command = tmp_path / "temp" / "edgekd" / "bin" / "edgekd"
    shown = subprocess.run(
        [command, "gate", "--help"], env={**os.environ, **env}, capture_output=True, text=True, check=False
    )
    assert shown.stdout.startswith("Usage: edgekd gate"), shown.stderr


@pytest.mark.parametrize(("name", "schema"), [("gate.yml", "github-workflows"), (".gitlab-ci.yml", "gitlab-ci")])
def test_snippets_of_the_guide_are_what_they_say(tmp_path: Path, name: str, schema: str) -> None:
    (text,) = [block for block in re.findall(r"```yaml\n(.*?)```", GUIDE, re.DOTALL) if name in block.splitlines()[0]]
    (tmp_path / name).write_text(text)
    check_schema(f"vendor.{schema}", tmp_path / name)


def test_the_workflow_gives_the_action_inputs_that_it_has() -> None:
    steps = yaml.safe_load(re.findall(r"```yaml\n(.*?)```", GUIDE, re.DOTALL)[0])["jobs"]["gate"]["steps"]
    (given,) = [step["with"] for step in steps if "edgekd" in step["uses"]]
    assert given.keys() <= ACTION["inputs"].keys()


@pytest.mark.parametrize("line", re.findall(r"^(?: *- )?edgekd (.*)$", GUIDE, re.MULTILINE))
def test_commands_of_the_guide_parse(line: str) -> None:
    name, *words = shlex.split(line)
    command = command_line.get_command(click.Context(command_line), name)
    assert command
    command.make_context(name, words)


def test_the_guide_names_every_format() -> None:
    named = re.findall(r"^\| `(\w+)` \|", GUIDE, re.MULTILINE)
    assert sorted(named) == list(registry.names("announcers"))
