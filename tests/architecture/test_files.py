"""What the tree promises: short files, telling names, no unfinished ends, a README that matches it."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from edgekd import registry

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "edgekd"
MAX_LINES = 400
# Pushed to targets as one file, so it can't become a folder.
ONE_FILE = PACKAGE / "runner.py"
# Recipes give these no options: they take a file, or a target, and nothing else.
TAKE_ONE_THING = {"formats", "transports"}
PLUG_INS = [
    (kind, file) for kind in registry.ENTRY for file in sorted((PACKAGE / kind).glob("*.py")) if file.name[0] != "_"
]


def tracked() -> list[Path]:
    """Files that git tracks or would track, relative to the root."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"not a git checkout: {done.stderr.strip()}")
    files = [Path(name) for name in done.stdout.split("\0") if name]
    return [file for file in files if (ROOT / file).exists()]


def readme_file_map() -> list[str]:
    """Paths in the fenced block below the README's heading `## Files`."""
    match = re.search(r"^## Files\n.*?^```\w*\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    if not match:
        pytest.skip("the README has no '## Files' yet")
    return [line.split()[0] for line in match[1].splitlines() if line.strip()]


@pytest.mark.parametrize(
    "file", sorted({*PACKAGE.rglob("*.py")} - {ONE_FILE}), ids=lambda file: file.relative_to(ROOT).as_posix()
)
def test_no_file_is_too_long_to_read(file: Path) -> None:
    assert len(file.read_text().splitlines()) <= MAX_LINES, "make it a folder of the same name"


def test_no_module_has_a_name_that_says_nothing() -> None:
    named = [file for file in tracked() if re.fullmatch(r"_?(utils?|helpers?|commons?|base|misc)", file.stem)]
    folders = [file for file in tracked() if {"utils", "helpers", "common", "base", "misc"} & set(file.parts[:-1])]
    assert named + folders == []


def test_nothing_is_left_to_do() -> None:
    marker = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X)\b")
    texts = [file for file in tracked() if file.suffix in {".py", ".toml", ".md", ".html", ".j2", ".css", ".js"}]
    assert [str(file) for file in texts if marker.search((ROOT / file).read_text())] == []


@pytest.mark.parametrize("kind", registry.ENTRY)
def test_every_kind_has_a_plug_in(kind: str) -> None:
    assert kind in {each for each, _ in PLUG_INS}


@pytest.mark.parametrize(("kind", "file"), PLUG_INS, ids=[f"{kind}/{file.stem}" for kind, file in PLUG_INS])
def test_plug_in_says_what_it_is_and_takes_named_options_only(kind: str, file: Path) -> None:
    tree = ast.parse(file.read_text())
    assert ast.get_docstring(tree), "its first line is the summary in --help"
    entries = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == registry.ENTRY[kind]]
    assert len(entries) == 1, f"defines '{registry.ENTRY[kind]}', once"
    entry = entries[0]
    assert ast.get_docstring(entry)
    positional = [*entry.args.posonlyargs, *entry.args.args]
    assert len(positional) == (1 if kind in TAKE_ONE_THING else 0)
    assert (entry.args.vararg, entry.args.kwarg) == (None, None)
    assert all(argument.annotation for argument in [*positional, *entry.args.kwonlyargs])


def test_tests_mirror_the_package() -> None:
    own = {"architecture", "contract", "peers", "e2e", "golden"}
    tests = [file for file in tracked() if file.parts[0] == "tests" and file.name.startswith("test_")]
    mirrored = [Path(*file.parts[1:]) for file in tests if file.parts[1] not in own]
    stray = [
        str(file)
        for file in mirrored
        if not (PACKAGE / file.with_name(file.name.removeprefix("test_"))).exists()
        and not (PACKAGE / file.parent / file.stem.removeprefix("test_")).is_dir()
        and file.stem != f"test_{file.parent.name}"  # what all plug-ins of a kind must do
    ]
    assert stray == []


def test_every_path_in_the_readme_s_file_map_exists() -> None:
    assert [path for path in readme_file_map() if not (ROOT / path).exists()] == []


def test_the_readme_s_file_map_names_everything_at_the_top_and_every_part_of_the_package() -> None:
    named = {path.rstrip("/") for path in readme_file_map()}
    there = {file.parts[0] for file in tracked()}
    there |= {f"edgekd/{file.parts[1]}" for file in tracked() if file.parts[0] == "edgekd" and len(file.parts) > 2}
    assert there - named == set()


@pytest.mark.slow
def test_the_wheel_holds_targets_recipes_and_every_module(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "-q", "-w", str(tmp_path), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode and "hatchling" in done.stderr:
        pytest.skip("the build backend can't be fetched here")
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("edgekd-*.whl")
    inside = set(zipfile.ZipFile(wheel).namelist())
    targets = {f"edgekd/_targets/{file.name}" for file in (ROOT / "targets").glob("*.toml")}
    package = {file.as_posix() for file in tracked() if file.parts[0] == "edgekd"}
    assert targets
    assert any(name.startswith("edgekd/recipes/") for name in package)
    assert (targets | package) - inside == set()
    assert not [name for name in inside if name.startswith(("tests/", "benchmarks/", "docs/"))]
