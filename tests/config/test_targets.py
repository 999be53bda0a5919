"""Targets: what ships, the user's own, and files that are like another."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from edgekd import registry
from edgekd.config import load_recipe, load_target, target_files
from edgekd.config.files import files_in
from edgekd.config.targets import TARGETS, common_io, own_folder
from edgekd.errors import ConfigError
from edgekd.records import IoType, Target

OWN = 'description = "mine"\nruntimes = ["litert"]\nram_bytes = 1_000\n'


@pytest.mark.parametrize("name", files_in(TARGETS))
def test_shipped_targets_load_and_name_runtimes_and_transports_that_are_there(name: str) -> None:
    target = load_target(name)
    assert target.name == name
    assert set(target.runtimes) <= set(registry.names("runtimes"))
    assert target.transport in registry.names("transports")


@pytest.mark.parametrize("name", sorted({*files_in(TARGETS)} - {"host"}))
def test_shipped_targets_say_where_their_figures_come_from(name: str) -> None:
    target = load_target(name)
    assert len(target.source) > 20
    # An address is of one machine; that of a shipped target is looked up in ~/.ssh/config.
    assert target.address is None
    if target.transport in ("ssh", "adb"):
        assert target.ram_bytes or name == "android-generic"
        assert target.cooldown_s > 0
    if "tflite_micro" in target.runtimes:
        assert (target.threads, target.time_basis) == (1, "emulated")
        assert target.ram_bytes or target.accelerator


def own(name: str, text: str) -> Path:
    """Write a target of the user's own."""
    own_folder().mkdir(parents=True, exist_ok=True)
    file = own_folder() / f"{name}.toml"
    file.write_text(text)
    return file


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A test's targets are its own."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


def test_the_user_s_own_come_before_those_that_ship() -> None:
    file = own("desk", OWN)
    assert load_target("desk").ram_bytes == 1000
    assert target_files()["desk"] == file
    own("cortex-m4", OWN)
    assert load_target("cortex-m4").description == "mine"
    assert [*target_files()] == sorted(target_files())


def test_without_a_variable_own_targets_lie_in_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert own_folder() == tmp_path / ".config/edgekd/targets"


def test_like_takes_over_all_keys_and_changes_some() -> None:
    own("desk", 'like = "cortex-m4"\nram_bytes = 1_000\n')
    shipped, desk = load_target("cortex-m4"), load_target("desk")
    assert desk == replace(shipped, name="desk", ram_bytes=1000)


def test_a_file_may_be_like_the_shipped_one_of_its_own_name() -> None:
    own("cortex-m4", 'like = "cortex-m4"\ncooldown_s = 7\n')
    found = load_target("cortex-m4")
    assert (found.cooldown_s, found.ram_bytes) == (7, 655_360)


def test_like_goes_over_several_files_and_finds_what_lies_beside(tmp_path: Path) -> None:
    (tmp_path / "base.toml").write_text(OWN)
    own("base", OWN + "threads = 3\n")
    (tmp_path / "middle.toml").write_text('like = "base"\ncooldown_s = 2\n')
    (tmp_path / "top.toml").write_text('like = "middle.toml"\nram_bytes = 5\n')
    found = load_target(str(tmp_path / "top.toml"))
    assert (found.name, found.description, found.threads, found.cooldown_s, found.ram_bytes) == ("top", "mine", 1, 2, 5)


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"a": 'like = "a"\n'}, "a.toml: like: goes in a circle: a.toml, a.toml"),
        (
            {"a": 'like = "b"\n', "b": 'like = "c.toml"\n', "c": 'like = "a"\n'},
            "c.toml: like: goes in a circle: a.toml, b.toml, c.toml, a.toml",
        ),
        ({"a": 'like = "b"\n', "b": 'like = "cortex-m44"\n'}, "b.toml: like: unknown target 'cortex-m44'"),
        ({"a": "like = 3\n"}, "a.toml: like: 3 is no name; allowed: a target, or a .toml file"),
        ({"a": 'like = "no/such.toml"\n'}, "a.toml: like: no such target file"),
        ({"a": 'like = "host"\nram = 3\n'}, "a.toml: unknown key 'ram'"),
    ],
)
def test_like_that_leads_nowhere_is_one_line(files: dict[str, str], words: str) -> None:
    for name, text in files.items():
        own(name, text)
    with pytest.raises(ConfigError) as caught:
        load_target("a")
    assert str(caught.value).startswith(words)
    assert "\n" not in str(caught.value)


def test_an_unknown_name_lists_the_user_s_own_too() -> None:
    own("desk", OWN)
    with pytest.raises(ConfigError, match=r"unknown target 'dsk'; allowed: .*, desk, .*host.*; did you mean 'desk'\?"):
        load_target("dsk")


def test_a_recipe_takes_a_target_beside_it_before_all_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (
        'name = "own"\n[data]\nsource = "digits"\n[student]\nmodel = "mlp"\n[[teachers]]\nmodel = "resnet"\n'
        'train = {}\n[benchmark]\ntargets = ["desk", "own", "host"]\n'
    )
    folder = tmp_path / "recipes"
    folder.mkdir()
    (folder / "own.toml").write_text(text)
    (folder / "desk.toml").write_text(OWN)
    own("desk", OWN.replace("mine", "another"))
    own("own", OWN)  # the recipe, of the same name, is no target
    for working, source in ((tmp_path, folder / "own.toml"), (folder, Path("own.toml"))):
        monkeypatch.chdir(working)
        desk, named_as_recipe, host = load_recipe(str(source)).recipe.benchmark.targets
        assert load_target(desk).description == "mine"
        assert (named_as_recipe, host) == ("own", "host")


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
