"""Recipes: what ships loads, what is wrong is said all at once, and nothing but a ConfigError comes out."""

from __future__ import annotations

import datetime as dt
import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from edgekd import config
from edgekd.config import copy_recipe, json_schema, load_gate_spec, load_recipe, load_target
from edgekd.config.files import RECIPES
from edgekd.errors import ConfigError
from edgekd.records import Budget, LossTerm

RECIPE = """
name = "own"
[data]
source = "digits"
[[teachers]]
model = "resnet"
depth = 20
train = { epochs = 2 }
[student]
model = "mlp"
hidden = [16]
[distill]
epochs = 5
losses = [{ name = "kl", temperature = 2.0 }]
[[budgets]]
metric = "file_size"
limit = "100 kB"
"""


def write(folder: Path, text: str) -> str:
    (folder / "own.toml").write_text(text, encoding="utf-8")
    return str(folder / "own.toml")


def refused(source: str, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_recipe(source, overrides)
    return str(caught.value)


# --- what ships ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", config.recipe_names())
def test_shipped_recipes_load_and_name_what_is_there(name: str) -> None:
    recipe = load_recipe(name).recipe
    assert recipe.name == name
    assert recipe.budgets
    assert recipe.description
    for target in recipe.benchmark.targets:
        assert load_target(target).name == target


def test_a_copied_recipe_is_the_shipped_one_and_never_overwrites(tmp_path: Path) -> None:
    copied = copy_recipe("digits", tmp_path / "new" / "own.toml")
    assert copied.read_bytes() == (RECIPES / "digits.toml").read_bytes()
    assert load_recipe(str(copied)).recipe == load_recipe("digits").recipe
    with pytest.raises(ConfigError, match="is there already"):
        copy_recipe("digits", copied)
    with pytest.raises(ConfigError, match=r"unknown recipe 'digit'.*did you mean 'digits'"):
        copy_recipe("digit", tmp_path / "other.toml")


# --- overrides -----------------------------------------------------------------------------------


def test_overrides_reach_every_place_and_are_kept(tmp_path: Path) -> None:
    overrides = (
        "distill.epochs=3",
        "teachers.0.train.epochs=4",
        "teachers.0.depth=8",
        "distill.losses.0.temperature=5",
        "budgets.0.limit=20 kB",
        "benchmark.targets=['host']",
        "description=a = b",
        " distill.optimizer = 'adamw'",
        "data.seed=7",
    )
    loaded = load_recipe(write(tmp_path, RECIPE), overrides)
    recipe = loaded.recipe
    assert (recipe.distill.epochs, recipe.distill.optimizer, recipe.data.seed) == (3, "adamw", 7)
    assert recipe.teachers[0].train is not None
    assert recipe.teachers[0].train.epochs == 4
    assert recipe.teachers[0].options["depth"] == 8
    assert recipe.distill.losses == (LossTerm(name="kl", options={"temperature": 5}),)
    assert (recipe.budgets[0].limit, recipe.description) == ("20 kB", "a = b")
    assert (loaded.text, loaded.overrides) == (RECIPE, overrides)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("distill.epochs", "'distill.epochs' is no override; allowed: key.sub_key=value"),
        ("=3", "'=3' is no override"),
        ("", "'' is no override"),
        ("data.source.x=1", "--set data.source.x: data.source is 'digits', which has no 'x'"),
        ("name.x.y=1", "name is 'own', which has no 'x'"),
        ("budgets.9.limit=1 kB", "--set budgets.9.limit: no '9' in budgets; allowed: 0"),
        ("budgets.1=1", "no '1' in budgets"),
        ("budgets.-1.limit=1 kB", "no '-1' in budgets"),
        ("budgets.first.limit=1 kB", "no 'first' in budgets"),
        ("budgets.\u0663.limit=1 kB", "no '\u0663' in budgets"),
        ("teachers..depth=1", "no '' in teachers"),
        ("student.hidden.0.x=1", "student.hidden.0 is 16, which has no 'x'"),
        ("distill.epochs=0", "own.toml: distill.epochs: 0: input should be greater than or equal to 1"),
        ("distill.epoch=3", "own.toml: distill: unknown key 'epoch'"),
        (".=3", "unknown key ''"),
        ("distill.epochs=3\nname='x'", "own.toml: distill.epochs"),
        ("distill.seed=" + "1" * 5000, "own.toml: distill.seed"),
        ("distill.seed=" + "[" * 20_000, "own.toml: distill.seed"),
    ],
)
def test_malformed_overrides_say_where(tmp_path: Path, override: str, words: str) -> None:
    assert words in refused(write(tmp_path, RECIPE), override)


KEYS = ("distill", "data", "teachers", "student", "budgets", "losses", "options", "hidden", "0", "1", "-1", "", " ")


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.sampled_from(KEYS),
        max_size=4,
    ),
    st.one_of(st.text(max_size=8), st.sampled_from(["1", "[]", "{}", "{a=1}", "true", "1979-05-27", "nan"])),
)
def test_no_override_gives_a_traceback(tmp_path: Path, key: list[str], value: str) -> None:
    source = write(tmp_path, RECIPE)
    try:
        load_recipe(source, [f"{'.'.join(key)}={value}"])
    except ConfigError as error:
        assert str(error)  # noqa: PT017 - either outcome is fine, another exception is not


# --- budgets of their own ------------------------------------------------------------------------


def test_budgets_are_read_from_a_file_of_their_own(tmp_path: Path) -> None:
    path = Path(write(tmp_path, '[[budgets]]\nmetric = "latency"\nlimit = "3 ms"\ntarget = "host"\n'))
    assert load_gate_spec(path).budgets == (Budget(metric="latency", limit="3 ms", target="host"),)
    assert load_gate_spec(Path(write(tmp_path, ""))).budgets == ()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("budgets = 3", ["own.toml: budgets: 3: input should be"]),
        ("[budgets]\nmetric = 'latency'", ["own.toml: budgets"]),
        ("[[budget]]", ["unknown key 'budget'", "did you mean 'budgets'?"]),
        ("name = 1\n[data]", ["unknown key 'name'", "unknown key 'data'"]),
        (
            "[[budgets]]\nmetric = 3\n[[budgets]]\nlimt = '1 B'",
            [
                "budgets.0.metric: 3",
                "budgets.0.limit: missing",
                "budgets.1: unknown key 'limt'",
                "did you mean 'limit'",
            ],
        ),
    ],
)
def test_wrong_budgets_are_all_named(tmp_path: Path, text: str, words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        load_gate_spec(Path(write(tmp_path, text)))
    for word in words:
        assert word in str(caught.value)


# --- the schema for editors ----------------------------------------------------------------------


def test_the_schema_is_one_and_takes_the_shipped_recipes() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads(json.dumps(json_schema()))
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    for name in config.recipe_names():
        assert [
            str(error) for error in validator.iter_errors(tomllib.loads((RECIPES / f"{name}.toml").read_text()))
        ] == []


@pytest.mark.parametrize(
    ("override", "path"),
    [
        ("distill.epochs=0", ["distill", "epochs"]),
        ("distill.epochs=1.5", ["distill", "epochs"]),
        ("distill.optimizer='adam'", ["distill", "optimizer"]),
        ("data.validation=1.0", ["data", "validation"]),
        ("distill.epoch=1", ["distill"]),
        ("nme='x'", []),
        ("teachers.0.weight=0", ["teachers", 0, "weight"]),
        ("export.formats=['tflit']", ["export", "formats", 0]),
    ],
)
def test_the_schema_refuses_what_edgekd_refuses(tmp_path: Path, override: str, path: list[str | int]) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    table = tomllib.loads(RECIPE)
    config._override(table, override)
    errors = list(jsonschema.Draft202012Validator(json_schema()).iter_errors(table))
    assert path in [list(each.absolute_path) for error in errors for each in (error, *(error.context or ()))]
    refused(write(tmp_path, RECIPE), override)


# --- anything else -------------------------------------------------------------------------------

VALUES = st.recursive(
    st.one_of(
        st.none(),  # deletes the key
        st.booleans(),
        st.integers(-3, 3),
        st.integers(),
        st.floats(),
        st.text(max_size=5),
        st.sampled_from(
            ["resnet", "mlp", "kl", "host", "fp32", "json:loads", "os.path:join", "no.such:thing", ":", "/"]
        ),
        st.dates(),
        st.times(),
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def to_toml(value: Any) -> str:
    """Write a value as inline TOML."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    if isinstance(value, list):
        return f"[{', '.join(to_toml(each) for each in value if each is not None)}]"
    if isinstance(value, dict):
        pairs = [f"{to_toml(key)} = {to_toml(each)}" for key, each in value.items() if each is not None]
        return f"{{{', '.join(pairs)}}}"
    return repr(value)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths of everything in a table."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(deeper for key, each in items for deeper in places(each, (*path, key)))]


def mutate(table: Any, chosen: int, key: str | None, value: Any) -> None:
    """Put a value in a place of a table, or beside it under another key."""
    paths = places(table)[1:]
    *parents, last = paths[chosen % len(paths)]
    for parent in parents:
        table = table[parent]
    table[key if key is not None and isinstance(table, dict) else last] = value


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.integers(0, 200), st.one_of(st.none(), st.text(max_size=6)), VALUES), min_size=1, max_size=3)
)
@example([(0, None, "x" * 5000)])
@example([(5, "weights", "x" * 5000)])
def test_no_mutation_of_a_recipe_gives_a_traceback(
    tmp_path: Path, mutations: list[tuple[int, str | None, Any]]
) -> None:
    table = tomllib.loads((RECIPES / "digits.toml").read_text())
    for chosen, key, value in mutations:
        mutate(table, chosen, key, value)
    text = "\n".join(f"{to_toml(key)} = {to_toml(value)}" for key, value in table.items() if value is not None)
    tomllib.loads(text)
    try:
        load_recipe(write(tmp_path, text))
    except ConfigError as error:
        assert "own.toml" in str(error)  # noqa: PT017 - either outcome is fine, another exception is not


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(st.binary(max_size=60), st.text(max_size=60).map(lambda text: text.encode("utf-8", "ignore"))))
@example(b"a = " + b"[" * 20_000)
@example(b"a = " + b"1" * 5000)
def test_no_file_gives_a_traceback(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "own.toml").write_bytes(content)
    assert "own.toml" in refused(str(tmp_path / "own.toml"))
