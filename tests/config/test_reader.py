"""A table against a spec: every problem, with its key, in one pass."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgekd.config.reader import build
from edgekd.errors import ConfigError
from edgekd.records import DataSpec, DistillSpec, NetworkSpec, Recipe, TeacherSpec

VALID: dict[str, Any] = {"name": "own", "data": {"source": "digits"}, "student": {"model": "mlp"}}


def make(kind: type, table: dict[str, Any], folder: Path = Path()) -> Any:
    return build(kind, table, where="own.toml", folder=folder)


def problems(kind: type, table: dict[str, Any]) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        make(kind, table)
    lines = str(caught.value).splitlines()
    if len(lines) == 1:
        return lines
    assert lines[0] == f"{len(lines) - 1} problems"
    return [line.removeprefix("  ") for line in lines[1:]]


def test_everything_that_is_wrong_is_said_at_once() -> None:
    table = {
        "nme": "own",
        "data": {"source": "digits", "validaton": 0.1, "test": 2},
        "student": {"model": "mlp", "hiden": [3]},
        "teachers": [{"model": "resnet", "depht": 20, "train": {"epoch": 3, "batch_size": "many"}}],
        "distill": {"losses": [{"name": "kl", "temprature": 3}], "augmentations": [{"name": "shift", "pixels": 1}]},
        "export": {"calibration": {"sample": 3}, "formats": ["tflit"]},
        "benchmark": {"run": 3},
        "budgets": [{"metric": "latency", "limit": 3, "targt": "host"}],
    }
    found = problems(Recipe, table)
    for key, word, meant in (
        ("", "nme", "name"),
        (": data", "validaton", "validation"),
        (": student", "hiden", "hidden"),
        (": teachers.0", "depht", "depth"),
        (": teachers.0.train", "epoch", "epochs"),
        (": distill.losses.0", "temprature", "temperature"),
        (": distill.augmentations.0", "pixels", "max_pixels"),
        (": export.calibration", "sample", "samples"),
        (": benchmark", "run", "runs"),
        (": budgets.0", "targt", "target"),
    ):
        (line,) = [each for each in found if each.startswith(f"own.toml{key}: unknown key '{word}'")]
        assert line.endswith(f"did you mean '{meant}'?")
    assert sorted(each.split(": ")[1] for each in found if "unknown key" not in each) == [
        "budgets.0.limit",
        "data.test",
        "export.formats.0",
        "name",
        "teachers.0.train.batch_size",
    ]


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("epochs", 0, "0: input should be greater than or equal to 1"),
        ("epochs", -3, "-3"),
        ("epochs", 2.5, "2.5: input should be a valid integer"),
        ("epochs", True, "True: input should be a valid integer"),
        ("epochs", "3", "'3': input should be a valid integer"),
        ("batch_size", 0, "0"),
        ("learning_rate", 0, "0: input should be greater than 0"),
        ("learning_rate", float("nan"), "nan"),
        ("weight_decay", -1e-4, "-0.0001"),
        ("warmup_epochs", -1, "-1"),
        ("patience", 0, "0"),
        ("seed", -1, "-1: input should be greater than or equal to 0"),
        ("seed", 2**63, "input should be less than"),
        ("optimizer", "adam", "'adam'; allowed: 'adamw', 'sgd'; did you mean 'adamw'?"),
        ("mixed_precision", True, "'True'; allowed: 'auto', 'off'"),
        ("losses", {"name": "kl"}, "input should be a valid"),
        ("losses", ["kl"], "input should be"),
    ],
)
def test_values_out_of_range_or_of_another_type_are_named(key: str, value: object, words: str) -> None:
    (line,) = problems(DistillSpec, {key: value})
    assert line.startswith(f"own.toml: {key}")
    assert words in line


def test_whole_numbers_are_numbers_and_absent_keys_take_their_defaults() -> None:
    spec = make(DistillSpec, {"learning_rate": 1, "patience": 3})
    assert (spec.learning_rate, spec.patience, spec.epochs) == (1.0, 3, DistillSpec().epochs)
    assert make(Recipe, VALID).distill == DistillSpec()


@pytest.mark.parametrize(
    ("kind", "table", "words"),
    [
        (NetworkSpec, {"model": "resnt"}, "own.toml: model: unknown network 'resnt'; allowed: "),
        (DataSpec, {"source": "digit"}, "own.toml: source: unknown dataset 'digit'"),
        (DistillSpec, {"losses": [{"name": "kll"}]}, "own.toml: losses.0.name: unknown loss 'kll'"),
        (DistillSpec, {"augmentations": [{"name": "flp"}]}, "augmentations.0.name: unknown augmentation 'flp'"),
        (NetworkSpec, {"model": "no_such_module:build"}, "no Python module 'no_such_module'"),
        (NetworkSpec, {"model": "json:build"}, "no function 'build' in __init__.py"),
        (NetworkSpec, {"model": ":"}, "own.toml: model"),
        (NetworkSpec, {}, "own.toml: model: missing"),
        (NetworkSpec, {"model": 3}, "own.toml: model: 3: input should be a valid string"),
        (NetworkSpec, {"model": "mlp", "options": {"hidden": [3]}}, "unknown key 'options'"),
        (NetworkSpec, {"model": "mlp", "classes": 3}, "unknown key 'classes'"),
        (NetworkSpec, {"model": "mlp", "hidden": "64"}, "own.toml: hidden: '64'"),
        (NetworkSpec, {"model": "mlp", "dropout": "none"}, "own.toml: dropout: 'none': input should be a valid number"),
        (DataSpec, {"source": "npz"}, "own.toml: npz needs 'path'"),
        (DataSpec, {"source": "npz", "path": 3}, "own.toml: path: 3"),
        (DataSpec, {"source": "npz", "path": "x", "channels": "lst"}, "channels: 'lst'; allowed: 'first', 'last'"),
    ],
)
def test_plug_ins_and_their_options_are_checked(kind: type, table: dict[str, Any], words: str) -> None:
    assert words in "\n".join(problems(kind, table))


def test_options_of_plug_ins_are_told_from_keys_of_the_spec() -> None:
    spec = make(TeacherSpec, {"model": "resnet", "depth": 20, "weight": 2, "weights": "t.safetensors"})
    assert spec == TeacherSpec(model="resnet", weight=2, weights=Path("t.safetensors"), options={"depth": 20})


def test_paths_beside_the_recipe_come_first(tmp_path: Path) -> None:
    (tmp_path / "own.npz").touch()
    tables: list[tuple[type, dict[str, Any]]] = [
        (DataSpec, {"source": "npz", "path": "own.npz"}),
        (TeacherSpec, {"model": "mlp", "weights": "own.npz"}),
    ]
    for kind, table in tables:
        spec = make(kind, table, tmp_path)
        found = spec.weights if kind is TeacherSpec else Path(spec.options["path"])
        assert found == tmp_path / "own.npz"
    for path in ("other.npz", "/own.npz", "x" * 5000):
        assert make(DataSpec, {"source": "npz", "path": path}, tmp_path).options["path"] == path


def test_options_whose_types_only_the_plug_in_knows_are_left_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_types.py").write_text(
        "def build(*, classes, input_shape, a: np.ndarray, b: 'int', c: int | 'x', d, e: Literal['s', 'm'] = 's',\n"
        "    f: int.nothing = 0, g: 3 = 3, h: 'no such' = 1): ...\n"
    )
    monkeypatch.chdir(tmp_path)
    options = {"a": 1, "b": 2, "c": 3, "d": [4], "f": 5, "g": 6, "h": 7}
    assert make(NetworkSpec, {"model": "own_types:build", **options}).options == options
    found = "\n".join(problems(NetworkSpec, {"model": "own_types:build", "a": 1, "e": "l"}))
    for words in ("needs 'b'", "needs 'c'", "needs 'd'", "own.toml: e: 'l'; allowed: 's', 'm'"):
        assert words in found
