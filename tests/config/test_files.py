"""Files are found by name or path, and read or refused in one line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edgekd.config.files import RECIPES, files_in, find, parse, read_text, recipe_names
from edgekd.errors import ConfigError


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
        find(source, files_in(RECIPES), "recipe")
    assert caught.value.where == source


@pytest.mark.parametrize("source", ["", ".", "..", "digit", "Digits ", "x" * 5000, "a\0b", "*"])
def test_a_name_that_is_none_lists_what_there_is(source: str) -> None:
    with pytest.raises(ConfigError, match="unknown recipe") as caught:
        find(source, files_in(RECIPES), "recipe")
    assert (caught.value.allowed or "").startswith(", ".join(recipe_names()))
