"""Recipes and targets are found by name or path, and read or refused in one line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edgekd.config.files import RECIPES, common_io, find, load_target, parse, read_text, recipe_names
from edgekd.errors import ConfigError
from edgekd.records import IoType, Target


def test_bad_toml_is_named_with_its_line() -> None:
    with pytest.raises(ConfigError, match=r"^own\.toml: not valid TOML: .*line 3") as caught:
        parse('name = "x"\n\nepochs = = 3\n', "own.toml")
    assert "\n" not in str(caught.value)


def test_the_same_key_twice_is_an_error() -> None:
    with pytest.raises(ConfigError, match="line 2"):
        parse("a = 1\na = 2\n", "own.toml")


def test_files_that_are_no_text_or_not_readable_say_so(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_bytes(b"\xff\xfe\x00name")
    with pytest.raises(ConfigError, match=r"own\.toml: not a text file"):
        read_text(tmp_path / "own.toml")
    with pytest.raises(ConfigError, match="can't read it: Is a directory"):
        read_text(tmp_path)
    if os.geteuid():  # root may read everything
        (tmp_path / "own.toml").chmod(0)
        with pytest.raises(ConfigError, match="can't read it: Permission denied"):
            read_text(tmp_path / "own.toml")


@pytest.mark.parametrize("source", ["no/such.toml", "such.toml", "./", "a\0b/", "x" * 5000 + "/"])
def test_a_path_that_leads_nowhere_is_named(source: str) -> None:
    with pytest.raises(ConfigError, match="no such recipe file") as caught:
        find(source, RECIPES, "recipe")
    assert caught.value.where == source


@pytest.mark.parametrize("source", ["", ".", "..", "digit", "Digits ", "x" * 5000, "a\0b", "*"])
def test_a_name_that_is_none_lists_what_there_is(source: str) -> None:
    with pytest.raises(ConfigError, match="unknown recipe") as caught:
        find(source, RECIPES, "recipe")
    assert (caught.value.allowed or "").startswith(", ".join(recipe_names()))


def test_a_target_of_one_s_own_is_named_by_its_file(tmp_path: Path) -> None:
    file = tmp_path / "my-target.toml"
    file.write_text('description = "mine"\nruntimes = ["litert"]\nram_bytes = 1_000\n')
    target = load_target(str(file))
    assert (target.name, target.runtimes, target.ram_bytes) == ("my-target", ("litert",), 1000)
    file.write_text('name = "x"\ndescription = "mine"\nruntimes = ["litert"]\n')
    with pytest.raises(ConfigError, match="a target is named by its file"):
        load_target(str(file))


def test_a_target_with_several_problems_names_them_all(tmp_path: Path) -> None:
    file = tmp_path / "my-target.toml"
    file.write_text('runtimes = "litert"\nthreads = 0\nram = 3\ntime_basis = "guessed"\n')
    with pytest.raises(ConfigError) as caught:
        load_target(str(file))
    for words in (
        "my-target.toml: unknown key 'ram'",
        "my-target.toml: description: missing",
        "my-target.toml: runtimes: 'litert': input should be a valid",
        "my-target.toml: threads: 0: input should be greater than or equal to 1",
        "my-target.toml: time_basis: 'guessed'; allowed: 'measured', 'emulated', 'estimated'",
    ):
        assert words in str(caught.value)


def test_targets_choose_a_type_that_all_of_them_take() -> None:
    def told(name: str, *io: IoType) -> Target:
        return Target(name=name, description="", runtimes=("litert",), io=io)

    assert common_io([told("any"), told("other")]) is None
    assert common_io([told("any"), told("phone", "uint8", "float32"), told("old", "float32", "uint8")]) == "uint8"
    with pytest.raises(ConfigError, match=r"suits all targets \(phone: uint8, float32; chip: int8\)") as caught:
        common_io([told("phone", "uint8", "float32"), told("chip", "int8")])
    assert "set export.io" in str(caught.value)
