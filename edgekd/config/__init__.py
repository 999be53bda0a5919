"""TOML to frozen specs: every error at once, each with file, key and what is allowed."""

from __future__ import annotations

import dataclasses
import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgekd import store
from edgekd.config.files import RECIPES, files_in, find, parse, read_text, recipe_names
from edgekd.config.reader import PLUG_IN_OF, Table, build
from edgekd.config.regressions import DEFAULT_TOLERANCES, read_regressions, read_tolerances, regression_metrics
from edgekd.config.regressions import flatten as flatten_tolerances
from edgekd.config.targets import TARGETS, common_io, load_target, load_targets, target_files
from edgekd.errors import ConfigError
from edgekd.records import GateSpec, Recipe

__all__ = [
    "DEFAULT_TOLERANCES",
    "TARGETS",
    "LoadedRecipe",
    "budget_lines",
    "build",
    "common_io",
    "copy_recipe",
    "flatten_tolerances",
    "json_schema",
    "load_gate_spec",
    "load_recipe",
    "load_target",
    "load_targets",
    "read_regressions",
    "read_table",
    "read_tolerances",
    "recipe_names",
    "target_files",
]


@dataclasses.dataclass(frozen=True, kw_only=True)
class LoadedRecipe:
    """A recipe, the text it was read from, and what the command line set in its place."""

    recipe: Recipe
    text: str
    path: Path
    overrides: tuple[str, ...] = ()


def load_recipe(source: str, overrides: Sequence[str] = ()) -> LoadedRecipe:
    """Read a recipe by the name of a shipped one or by path, and check all of it.

    Args:
        source: `digits`, or `path/to/recipe.toml`.
        overrides: `distill.epochs=3`: a dotted key and a TOML value (a bare word is text).

    Raises:
        ConfigError: Everything that is wrong, at once.

    >>> load_recipe("digits", ["distill.epochs=3"]).recipe.distill.epochs
    3
    """
    from edgekd.config.cross_check import cross_check  # it asks every stage; a gate asks none

    path = find(source, files_in(RECIPES), "recipe")
    text = read_text(path)
    table = read_table(text, overrides, where=str(path))
    recipe = build(Recipe, table, where=path.name, folder=path.parent)
    if problems := cross_check(recipe, path.name):
        raise ConfigError.of(problems)
    return LoadedRecipe(recipe=recipe, text=text, path=path, overrides=tuple(overrides))


def read_table(text: str, overrides: Sequence[str] = (), *, where: str) -> Table:
    r"""Read TOML with overrides, and check nothing else: what it names may lie on another machine.

    Raises:
        ConfigError: It is no TOML, or an override is none.

    >>> read_table("[export]\nformats = ['onnx']", ["export.io=int8"], where="recipe.toml")
    {'export': {'formats': ['onnx'], 'io': 'int8'}}
    """
    table = parse(text, where)
    for override in overrides:
        _override(table, override)
    return table


def load_gate_spec(path: Path, overrides: Sequence[str] = (), *, of_recipe: bool = False) -> GateSpec:
    """Read the `[[budgets]]` and `[[waivers]]` of a TOML file.

    Args:
        path: A file of these alone.
        overrides: As for `load_recipe`.
        of_recipe: It is a recipe: the rest is not looked at, since what it names may lie on another machine.

    Raises:
        ConfigError: Everything that is wrong, at once.
    """
    table = read_table(read_text(path), overrides, where=str(path))
    if of_recipe:
        known = {each.name for each in dataclasses.fields(GateSpec)}
        table = {key: value for key, value in table.items() if key in known}
    spec = build(GateSpec, table, where=path.name, folder=path.parent)
    read_regressions(spec.regressions or {}, f"{path.name}: regressions")
    return spec


def budget_lines(path: Path) -> tuple[int, ...]:
    """Find the lines, from 1, at which the `[[budgets]]` of a TOML file begin.

    TOML's parser tells no lines: budgets written as `budgets = [...]` have none, and a text of several lines may hold
    what looks like one. Whoever has the budgets can see by their number whether these are theirs.
    """
    lines = enumerate(read_text(path).split("\n"), 1)
    return tuple(number for number, line in lines if re.match(r"\s*\[\[\s*budgets\s*\]\]", line))


def copy_recipe(name: str, path: Path) -> Path:
    """Copy a shipped recipe to a file of the user's.

    Raises:
        ConfigError: Unknown recipe, or the file is there already.
    """
    if path.exists():
        raise ConfigError("is there already", where=str(path), next_step="choose another file with --out")
    store.write_bytes(path, find(name, files_in(RECIPES), "recipe").read_bytes())
    return path


def json_schema() -> dict[str, Any]:
    """JSON Schema of recipes, for editors.

    >>> json_schema()["required"]
    ['name', 'data', 'student']
    """
    from pydantic import TypeAdapter

    schema = TypeAdapter(Recipe).json_schema()
    with_options = {spec.__name__ for spec in PLUG_IN_OF}
    for name, definition in [("Recipe", schema), *schema["$defs"].items()]:
        definition["additionalProperties"] = name in with_options
        definition["properties"].pop("options", None)
    schema["properties"]["regressions"]["propertyNames"] = {"pattern": f"^({'|'.join(regression_metrics())})(\\.p.+)?$"}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _override(table: Table, override: str) -> None:
    key, equals, value = override.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"'{override}' is no override", where="--set", allowed="key.sub_key=value")
    try:
        found = tomllib.loads(f"value = {value}")
    except (ValueError, RecursionError):
        found = {}
    # More than one key: the text had lines of its own.
    parsed = found["value"] if found.keys() == {"value"} else value
    parts = key.strip().split(".")
    place: Any = table
    for depth, part in enumerate(parts):
        at = ".".join(parts[:depth]) or "recipe"
        slot: Any = part
        if isinstance(place, list):
            indices = [str(index) for index in range(len(place))]
            if part not in indices:
                allowed = ", ".join(indices) or "none: the list is empty"
                raise ConfigError(f"no '{part}' in {at}", where=f"--set {key}", allowed=allowed)
            slot = int(part)
        elif not isinstance(place, dict):
            raise ConfigError(f"{at} is {place!r}, which has no '{part}'", where=f"--set {key}")
        if depth == len(parts) - 1:
            place[slot] = parsed
        else:
            place = place[slot] if isinstance(place, list) else place.setdefault(part, {})
