"""Checks a TOML table against a frozen spec and the options of the plug-ins that it names."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import types
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

from edgekd import registry, store
from edgekd.errors import ConfigError, EdgekdError, did_you_mean
from edgekd.records import (
    AssistantSpec,
    AugmentationTerm,
    BenchmarkSpec,
    CorrectionTerm,
    DataSpec,
    LossTerm,
    NetworkSpec,
    PackagerTerm,
    QuantSpec,
    Schedule,
    TeacherSpec,
    TransferSpec,
)

T = TypeVar("T")
Table = dict[str, Any]
Place = tuple[str, ...]

# Specs whose other keys are options of a plug-in: its kind, and the key that names it.
PLUG_IN_OF: dict[type, tuple[str, str]] = {
    DataSpec: ("datasets", "source"),
    TransferSpec: ("datasets", "source"),
    NetworkSpec: ("networks", "model"),
    AssistantSpec: ("networks", "model"),
    TeacherSpec: ("networks", "model"),
    LossTerm: ("losses", "name"),
    AugmentationTerm: ("augmentations", "name"),
    QuantSpec: ("calibrators", "method"),
    CorrectionTerm: ("corrections", "name"),
    PackagerTerm: ("packagers", "name"),
}
# What pydantic calls the number in `NotNegative | Schedule`.
_NUMBER = "constrained-float"
# What annotations of plug-in options may say; they are read from source, not imported.
_OPTION_TYPES = {
    "int": int,
    "float": float,
    "str": str,
    "bool": bool,
    "tuple": tuple,
    "Path": Path,
    "Literal": Literal,
    "None": None,
}


def build(kind: type[T], table: Table, *, where: str, folder: Path) -> T:
    """Check a table against a spec and make it.

    Args:
        kind: A frozen record.
        table: As TOML gave it.
        where: File name for messages.
        folder: What relative paths start from, where there is such a file.

    Raises:
        ConfigError: Everything that is wrong, at once.
    """
    from pydantic import TypeAdapter, ValidationError

    reader = _Reader(where, folder)
    shaped = reader.shape(kind, table, ())
    wrong = {problem.where for problem in reader.problems}
    try:
        made = TypeAdapter(kind).validate_json(json.dumps(shaped, default=str), strict=True)
    except ValidationError as error:
        for each in error.errors():
            place = _in_recipe(each["loc"], each["input"])
            if place is None:
                continue
            at = f"{where}: {'.'.join(place)}"
            if at not in wrong:
                reader.problems.append(_explain(at, dict(each)))
    if reader.problems:
        raise ConfigError.of(reader.problems)
    return made


class _Reader:
    """One pass over one file, collecting problems."""

    def __init__(self, where: str, folder: Path) -> None:
        self.where, self.folder = where, folder
        self.problems: list[EdgekdError] = []

    def shape(self, kind: type, table: object, path: Place) -> object:
        """Move plug-in options to their place, find unknown keys, and go down into nested specs."""
        if not isinstance(table, Mapping):
            return table  # pydantic says what is wrong with it
        hints = _hints(kind)
        shaped: Table = {}
        options: Table = {}
        for key, value in table.items():
            if key in hints and key != "options":
                shaped[key] = self._shape_field(hints[key], value, (*path, key))
            elif kind in PLUG_IN_OF:
                options[key] = value
            else:
                self.problems.append(self._unknown(key, hints, path))
        if kind in PLUG_IN_OF:
            shaped["options"] = self._check_options(kind, shaped, options, hints, path)
        for key in ("weights", "tokenizer"):
            if isinstance(shaped.get(key), str):
                shaped[key] = _in_data(beside(shaped[key], self.folder))
        if isinstance(shaped.get("cache_folder"), str):
            shaped["cache_folder"] = beside(shaped["cache_folder"], self.folder)
        if kind is BenchmarkSpec and isinstance(shaped.get("targets"), list):
            shaped["targets"] = [self._target(each) for each in shaped["targets"]]
        return shaped

    def _target(self, name: object) -> object:
        """Prefer a target beside the recipe, which is none itself, to others of its name."""
        if not isinstance(name, str) or name.endswith(".toml") or "/" in name:
            return beside(name, self.folder) if isinstance(name, str) else name
        there = self.folder / f"{name}.toml"
        return str(there) if there.name != self.where and os.path.isfile(there) else name  # noqa: PTH113 - see `beside`

    def _shape_field(self, hint: object, value: object, path: Place) -> object:
        spec = _spec_in(hint)
        if spec is None:
            return value
        if isinstance(value, list):
            return [self.shape(spec, each, (*path, str(index))) for index, each in enumerate(value)]
        return self.shape(spec, value, path)

    def _check_options(
        self, kind: type, shaped: Table, options: Table, hints: Mapping[str, object], path: Place
    ) -> Table:
        """Check options against the parameters in the plug-in's source."""
        plug_in_kind, key = PLUG_IN_OF[kind]
        if kind is TeacherSpec and shaped.get("source", "torch") != "torch":
            # Only a torch teacher is one of our networks; others' options are those of what loads them.
            plug_in_kind, key = "teachers", "source"
        name = shaped.get(key, _default(kind, key))
        if not isinstance(name, str):
            if name is None:
                self.problems.extend(self._unknown(option, hints, path) for option in options)
            return options
        try:
            plug_in = registry.describe(plug_in_kind, name)
        except EdgekdError as error:
            self.problems.append(
                ConfigError(error.what, where=self._at((*path, key)), allowed=error.allowed, next_step=error.next_step)
            )
            return options
        known = {parameter.name: parameter for parameter in plug_in.parameters}
        own = [each.name for each in dataclasses.fields(kind) if each.name != "options"]
        checked: Table = {}
        for option, value in options.items():
            if option not in known:
                self.problems.append(self._unknown(option, [*own, *known], path))
                continue
            checked[option] = self._check_option(known[option], value, self._at((*path, option)))
        self.problems.extend(
            ConfigError(f"{name} needs '{parameter.name}'", where=self._at(path))
            for parameter in plug_in.parameters
            if parameter.required and parameter.name not in options
        )
        return checked

    def _unknown(self, key: str, known: Iterable[str], path: Place) -> ConfigError:
        known = [each for each in known if each != "options"]
        return ConfigError(
            f"unknown key '{key}'",
            where=self._at(path),
            allowed=", ".join(known),
            next_step=did_you_mean(key, known),
        )

    def _check_option(self, parameter: registry.Parameter, value: object, at: str) -> object:
        from pydantic import PydanticUserError, TypeAdapter, ValidationError

        if parameter.annotation == "float" and isinstance(value, Mapping):
            return self._schedule(value, at)
        try:
            # The annotation comes from the plug-in's own source, which is code that is going to run anyway.
            hint = eval(parameter.annotation, {"__builtins__": {}}, _OPTION_TYPES)  # noqa: S307
            adapter = TypeAdapter[object](hint)
        except (NameError, TypeError, AttributeError, SyntaxError, PydanticUserError):
            return value  # a type that only the plug-in itself knows
        try:
            adapter.validate_json(json.dumps(value, default=str), strict=True)
        except ValidationError as error:
            self.problems.append(_explain(at, dict(error.errors()[0])))
            return value
        return beside(value, self.folder) if hint is Path and isinstance(value, str) else value

    def _schedule(self, table: Mapping[str, object], at: str) -> object:
        """A number that changes over the training, in place of a number."""
        try:
            build(Schedule, dict(table), where=at, folder=self.folder)
        except ConfigError as error:
            self.problems.append(error)
        return table

    def _at(self, path: Place) -> str:
        return f"{self.where}: {'.'.join(path)}" if path else self.where


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _default(kind: type, key: str) -> object:
    """The plug-in that a spec takes where the table names none."""
    return next(
        (each.default for each in dataclasses.fields(kind) if each.name == key and isinstance(each.default, str)), None
    )


def _spec_in(hint: object) -> type | None:
    """Find the record inside `Spec`, `Spec | None` or `tuple[Spec, ...]`."""
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return hint
    if typing.get_origin(hint) in {tuple, types.UnionType, typing.Union}:
        return next((spec for part in typing.get_args(hint) if (spec := _spec_in(part))), None)
    return None


def beside(path: str, folder: Path) -> str:
    """Prefer a file beside the recipe; otherwise leave it to the working folder."""
    there = folder / path
    # os.path.exists is false where Path.exists raises, as on a name that is too long.
    return str(there) if not Path(path).is_absolute() and os.path.exists(there) else path  # noqa: PTH110 - see above


def _in_data(path: str) -> str:
    """Prefer a file that there is; otherwise look for it in the folders of the user's data."""
    places = [path, *(str(folder / path) for folder in store.data_folders())]
    return next((each for each in places if os.path.exists(each)), path)  # noqa: PTH110 - see `beside`


def _in_recipe(loc: tuple[int | str, ...], value: object) -> Place | None:
    """Where in the recipe an error is; none where it is of what the user did not mean: a table or a number."""
    place = tuple(str(part) for part in loc)
    if place[-1:] == (_NUMBER,):
        return None if isinstance(value, Mapping) else place[:-1]
    if Schedule.__name__ not in place:
        return place
    # What is no table was meant as a number, which has an error of its own.
    return None if place[-1] == Schedule.__name__ else tuple(part for part in place if part != Schedule.__name__)


def _explain(at: str, error: dict[str, Any]) -> EdgekdError:
    value = error["input"]
    if error["type"] in {"missing", "missing_keyword_only_argument"}:
        return ConfigError("missing", where=at)
    if error["type"] == "literal_error":
        allowed = error["ctx"]["expected"].replace(" or ", ", ")
        words = [word.strip("' ") for word in allowed.split(",")]
        return ConfigError(f"'{value}'", where=at, allowed=allowed, next_step=did_you_mean(str(value), words))
    return ConfigError(f"{value!r}: {error['msg'][0].lower()}{error['msg'][1:]}", where=at)
