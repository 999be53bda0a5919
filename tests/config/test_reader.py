"""A table against a spec: every problem, with its key, in one pass."""

from __future__ import annotations

import dataclasses
import fnmatch
import tomllib
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # has no stubs
import pytest

from edgekd import registry
from edgekd.config import json_schema, load_recipe
from edgekd.config.reader import PLUG_IN_OF, build
from edgekd.errors import ConfigError
from edgekd.records import DataSpec, DistillSpec, NetworkSpec, Recipe, Schedule, TeacherSpec

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


# --- the tables of distillation ------------------------------------------------------------------

WHOLE = """
name = "own"
[data]
source = "digits"
[transfer]
source = "npz"
path = "x.npz"
labels = "none"
labelled = false
[[teachers]]
source = "onnx"
weights = "t.onnx"
weight = 2
input_mean = [0.5]
classes = ["a", "b"]
[[teachers]]
model = "resnet"
depth = 20
weights = "w.safetensors"
train = { epochs = 2 }
[[assistants]]
model = "resnet"
depth = 8
[assistants.train]
epochs = 3
losses = [{ name = "dkd", others = { start = 1, end = 8 } }]
[student]
model = "mlp"
[distill]
control = true
seeds = 3
views = 4
cache_budget = "5 MB"
combine = "probabilities"
losses = [
  { name = "kl", weight = { start = 1.0, end = 0.5, shape = "cosine" }, temperature = { start = 8, end = 2 } },
  { name = "cross_entropy", weight = 0.1 },
]
"""


@pytest.fixture
def whole(tmp_path: Path) -> str:
    (tmp_path / "own.toml").write_text(WHOLE)
    return str(tmp_path / "own.toml")


def test_every_table_of_distillation_is_read(whole: str) -> None:
    recipe = load_recipe(whole).recipe
    kl, hard = recipe.distill.losses
    assert kl.weight == Schedule(start=1.0, end=0.5, shape="cosine")
    assert kl.options == {"temperature": {"start": 8, "end": 2}}
    assert hard.weight == 0.1
    assert recipe.transfer is not None
    assert (recipe.transfer.labelled, recipe.transfer.options) == (False, {"path": "x.npz", "labels": "none"})
    other, tuned = recipe.teachers
    assert (other.source, other.weight, other.classes, other.options) == ("onnx", 2.0, ("a", "b"), {})
    assert (tuned.source, tuned.options, tuned.train) == ("torch", {"depth": 20}, DistillSpec(epochs=2))
    (assistant,) = recipe.assistants
    assert assistant.train is not None
    assert (assistant.options, assistant.train.epochs) == ({"depth": 8}, 3)
    validator = jsonschema.Draft202012Validator(json_schema())
    assert [str(error) for error in validator.iter_errors(tomllib.loads(WHOLE))] == []


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("transfer.sorce='npz'", "own.toml: transfer: unknown key 'sorce'; *; did you mean 'source'?"),
        ("transfer.keep_class=['a']", "own.toml: transfer: unknown key 'keep_class'; *did you mean 'keep_classes'?"),
        ("transfer.pth='x'", "own.toml: transfer: unknown key 'pth'; *; did you mean 'path'?"),
        ("assistants.0.dept=3", "own.toml: assistants.0: unknown key 'dept'; *; did you mean 'depth'?"),
        ("assistants.0.train.epoch=3", "own.toml: assistants.0.train: unknown key 'epoch'; *did you mean 'epochs'?"),
        ("assistants.0.train.losses.0.othrs=1", "own.toml: assistants.0.train.losses.0: unknown key 'othrs'; *"),
        ("assistants.0.train.seeds=2", "own.toml: assistants.0.train.seeds: is for the student only; leave it out"),
        ("teachers.1.train.control=true", "own.toml: teachers.1.train.control: is for the student only; leave it out"),
        ("teachers.0.sorce='x'", "own.toml: teachers.0: unknown key 'sorce'; *; did you mean 'source'?"),
        ("teachers.0.depth=20", "own.toml: teachers.0: unknown key 'depth'; *"),
        ("teachers.0.source='onxx'", "own.toml: teachers.0.source: unknown teacher 'onxx'; *; did you mean 'onnx'?"),
        ("teachers.0.output='probs'", "own.toml: teachers.0.output: 'probs'; allowed: 'logits', 'probabilities'"),
        ("teachers.0.train={epochs=1}", "own.toml: teachers.0.train: a teacher from 'onnx' can't be trained; *"),
        ("teachers.0={source='logits'}", 'own.toml: teachers.0: missing; add weights = "its file or folder"'),
        (
            "teachers.0={source='logits',weights='x',input_scale=2.0}",
            "own.toml: teachers.0.input_scale: stored logits have no inputs; leave it out",
        ),
        ("distill.view=3", "own.toml: distill: unknown key 'view'; *; did you mean 'views'?"),
        ("distill.cache='yes'", "own.toml: distill.cache: 'yes'; allowed: 'auto', 'on', 'off'"),
        ("distill.cache_budget='5 apples'", "own.toml: distill.cache_budget: '5 apples' is no size; *"),
        (
            "distill.trackers=['tensorbord']",
            "own.toml: distill.trackers: unknown tracker 'tensorbord'; *; did you mean 'tensorboard'?",
        ),
        # A number that may be a table.
        ("distill.losses.0.weight=-1", "own.toml: distill.losses.0.weight: -1: *greater than or equal to 0"),
        ("distill.losses.0.weight='much'", "own.toml: distill.losses.0.weight: 'much': *a valid number"),
        ("distill.losses.0.weight={start=1}", "own.toml: distill.losses.0.weight.end: missing"),
        ("distill.losses.0.weight={start=1,end='x'}", "own.toml: distill.losses.0.weight.end: 'x': *a valid number"),
        (
            "distill.losses.0.weight={start=1,end=0,strat=3}",
            "own.toml: distill.losses.0.weight: unknown key 'strat'; *; did you mean 'start'?",
        ),
        ("distill.losses.0.weight={start=1,end=-2}", "own.toml: distill.losses.0.weight: falls to -2; *0 or more"),
        (
            "distill.losses.0.weight={start=1,end=0,begin=0.8,finish=0.2}",
            "own.toml: distill.losses.0.weight: begins at 0.8 and finishes at 0.2; *",
        ),
        (
            "distill.losses.0.temperature={start=1,end=2,shape='linar'}",
            "own.toml: distill.losses.0.temperature: shape: 'linar'; *; did you mean 'linear'?",
        ),
        (
            "distill.losses.0.temperature={start=1,end=2,begin=2}",
            "own.toml: distill.losses.0.temperature: begin: 2: *less than or equal to 1",
        ),
        (
            "distill.losses.0.temperature={start=1,end=2,begin=0.8,finish=0.2}",
            "own.toml: distill.losses.0.temperature: begins at 0.8 and finishes at 0.2; *",
        ),
    ],
)
def test_what_is_wrong_with_a_table_of_distillation(override: str, said: str, whole: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_recipe(whole, [override])
    assert fnmatch.fnmatchcase(str(caught.value), said.replace("[", "[[]").replace("?", "[?]")), caught.value


@pytest.mark.parametrize("spec", PLUG_IN_OF, ids=lambda spec: spec.__name__)
def test_no_option_of_a_plug_in_is_called_like_a_field_of_its_table(spec: type) -> None:
    """It could never be given: the table's own field comes first."""
    kinds = {PLUG_IN_OF[spec][0], *({"teachers"} if spec is TeacherSpec else ())}
    plug_ins = [registry.describe(kind, name) for kind in kinds for name in registry.names(kind)]
    fields = {field.name for field in dataclasses.fields(spec)}
    assert [
        (each.kind, each.name, option.name) for each in plug_ins for option in each.parameters if option.name in fields
    ] == []
