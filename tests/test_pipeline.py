"""Steps are skipped, made again and forgotten as what they depend on says; a run folder tells what it holds."""

import hashlib
import json
from pathlib import Path

import pytest

from edgekd import pipeline, store
from edgekd.config import LoadedRecipe, load_recipe
from edgekd.errors import ConfigError, EdgekdError, StoreError
from edgekd.pipeline.workspace import Workspace
from edgekd.progress import Silent
from edgekd.records import Measurement, NetworkSpec

RECIPE = """
name = "points"
[data]
source = "npz"
path = "points.npz"
validation = 0.2
[[teachers]]
model = "mlp"
hidden = [32]
train = { epochs = 2, batch_size = 16 }
[student]
model = "mlp"
hidden = [8]
[distill]
epochs = 2
batch_size = 16
[[budgets]]
metric = "accuracy"
format = "torch"
limit = "1 %"
"""
ACCURACY = Measurement(
    model_sha256="0",
    model="student.onnx",
    format="onnx",
    precision="fp32",
    role="student",
    target="host",
    metric="accuracy",
    unit="1",
    samples=(1.0, 0.0),
)


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A recipe on points so few that its training takes no time."""
    np = pytest.importorskip("numpy")
    pytest.importorskip("torch")
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, 400)
    inputs = random.normal(0, 0.3, (400, 6)).astype(np.float32)
    inputs[:, 0] += 3 * labels
    np.savez(tmp_path / "points.npz", x=inputs, y=labels)
    (tmp_path / "points.toml").write_text(RECIPE)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "points.toml"


def run(recipe: Path, *overrides: str, out: str = "run", until: str = "distill") -> pipeline.Outcome:
    return pipeline.run(load_recipe(str(recipe), overrides), folder=recipe.parent / out, until=until)


def test_what_is_done_is_skipped(recipe: Path) -> None:
    assert run(recipe).made == ("teachers", "assistants", "distill")
    again = run(recipe)
    assert (again.made, again.skipped) == ((), ("teachers", "assistants", "distill"))
    assert [model.role for model in again.run.models] == ["teacher", "student"]
    # Of the teacher also what it predicts.
    assert {each.metric for each in again.run.measurements} == {"accuracy", "recall"}
    assert set(again.run.histories) == {"teacher-0", "student"}


@pytest.mark.parametrize(
    ("override", "made"),
    [
        ("distill.epochs=3", ("distill",)),
        ("student.hidden=[9]", ("distill",)),
        ("teachers.0.train.epochs=3", ("teachers", "assistants", "distill")),
        ("teachers.0.weight=2.0", ("distill",)),
        ("data.seed=1", ("teachers", "assistants", "distill")),
        ("benchmark.runs=7", ()),
        ("budgets.0.limit='2 %'", ()),
        ("description='other words'", ()),
    ],
)
def test_a_step_is_made_again_when_something_it_depends_on_changes(
    override: str, made: tuple[str, ...], recipe: Path
) -> None:
    run(recipe)
    assert run(recipe, override).made == made


def test_other_data_in_the_same_file_are_other_data(recipe: Path) -> None:
    np = pytest.importorskip("numpy")
    run(recipe)
    with np.load(recipe.parent / "points.npz") as archive:
        np.savez(recipe.parent / "points.npz", x=archive["x"] + 1, y=archive["y"])
    assert run(recipe).made == ("teachers", "assistants", "distill")


def test_an_own_network_is_part_of_what_a_step_depends_on(recipe: Path) -> None:
    own = recipe.parent / "own_points.py"
    own.write_text(
        "from torch import nn\n\ndef build(*, classes: int, input_shape: tuple[int, ...]) -> nn.Module:\n"
        "    return nn.Linear(*input_shape, classes)\n"
    )
    ours = "student={model='own_points:build'}"
    assert run(recipe, ours).made == ("teachers", "assistants", "distill")
    own.write_text(own.read_text() + "# changed\n")
    # In a process of its own, as on the command line: this one has imported the module.
    assert run(recipe, ours).made == ("distill",)


def test_two_folders_get_the_same_bytes(recipe: Path) -> None:
    run(recipe)
    run(recipe, out="other")
    manifests = [(recipe.parent / out / "manifest.json").read_bytes() for out in ("run", "other")]
    assert manifests[0] == manifests[1]
    # 11 files of three steps, and what was asked, with what, on which versions.
    assert len(json.loads(manifests[0])["files"]) == 14


def test_later_steps_are_forgotten_when_they_read_other_bytes(recipe: Path) -> None:
    run(recipe)
    later = recipe.parent / "run" / "benchmark"
    folder = store.RunFolder(later.parent)
    store.write_json(folder.begin("benchmark") / "measurements.json", [ACCURACY])
    folder.finish("benchmark", "any", [later / "measurements.json"])
    assert len(pipeline.open_run(later.parent).measurements) == 4
    run(recipe, "description='no other bytes'")
    assert (later / "stage.json").exists()
    run(recipe, "distill.seed=1")
    assert not (later / "stage.json").exists()
    assert ACCURACY not in pipeline.open_run(later.parent).measurements


def test_the_same_bytes_made_again_leave_later_steps_alone(recipe: Path) -> None:
    run(recipe)
    weights = recipe.parent / "run" / "teachers" / "teacher-0.safetensors"
    right = weights.read_bytes()
    weights.write_bytes(right[:-1])
    assert run(recipe).made == ("teachers",)
    assert weights.read_bytes() == right


def test_files_of_an_earlier_recipe_go(recipe: Path) -> None:
    run(recipe)
    second = "[[teachers]]\nmodel = 'mlp'\ntrain = { epochs = 2, batch_size = 16 }\n"
    recipe.write_text(recipe.read_text().replace("[student]", f"{second}[student]"))
    run(recipe)
    weights = recipe.parent / "run" / "teachers" / "teacher-1.safetensors"
    assert weights.exists()
    recipe.write_text(RECIPE)
    run(recipe)
    assert not weights.exists()
    assert not any("teacher-1" in name for name in pipeline.verify(recipe.parent / "run"))


def test_a_failed_step_leaves_no_manifest_and_what_was_done(recipe: Path) -> None:
    run(recipe)
    with pytest.raises(EdgekdError, match="loss is"):
        run(recipe, "distill.learning_rate=1e30")
    with pytest.raises(StoreError, match="not finished"):
        pipeline.verify(recipe.parent / "run")
    assert [model.role for model in pipeline.open_run(recipe.parent / "run").models] == ["teacher"]
    assert run(recipe).made == ("distill",)
    assert set(pipeline.verify(recipe.parent / "run").values()) == {"ok"}


@pytest.mark.slow
def test_what_a_target_failed_in_is_done_again(recipe: Path, caplog: pytest.LogCaptureFixture) -> None:
    (recipe.parent / "away.toml").write_text(
        'description = ""\ntransport = "ssh"\naddress = "ssh://nobody@127.0.0.1:1"\nruntimes = ["onnxruntime"]\n'
    )
    overrides = ("benchmark.targets=['./away.toml', 'host']", "export.formats=['onnx']", "export.precisions=['fp32']")
    for made in (("lint", "benchmark"), ("benchmark",)):
        outcome = run(recipe, *overrides, until="benchmark")
        assert outcome.open == ("benchmark",)
        assert outcome.made[-len(made) :] == made
        assert {"host", "file"} <= {each.target for each in outcome.run.measurements}
        assert any("the rest of away is not measured" in each for each in caplog.messages)
    last = run(recipe, "benchmark.targets=['host']", *overrides[1:], until="benchmark")
    assert not last.open
    assert run(recipe, "benchmark.targets=['host']", *overrides[1:], until="benchmark").made == ()


def test_verify_tells_changed_from_missing(recipe: Path) -> None:
    run(recipe)
    folder = recipe.parent / "run"
    (folder / "distill" / "models.json").write_text("[]")
    (folder / "teachers" / "models.json").unlink()
    wrong = {name: state for name, state in pipeline.verify(folder).items() if state != "ok"}
    assert wrong == {"distill/models.json": "changed", "teachers/models.json": "missing"}


def test_the_manifest_holds_the_hashes_of_the_files(recipe: Path) -> None:
    run(recipe)
    folder = recipe.parent / "run"
    listed = json.loads((folder / "manifest.json").read_text())["files"]
    for name, file in listed.items():
        content = (folder / name).read_bytes()
        assert (hashlib.sha256(content).hexdigest(), len(content)) == (file["sha256"], file["size_bytes"])
    assert {"recipe.toml", "distill/student.safetensors", "teachers/teacher-0.safetensors"} <= set(listed)


def test_first_weights_depend_on_the_seed_alone(recipe: Path) -> None:
    torch = pytest.importorskip("torch")
    loaded: LoadedRecipe = load_recipe(str(recipe))
    space = Workspace(loaded, recipe.parent / "run", Silent())
    spec = NetworkSpec(model="mlp", options={"hidden": (8,)})
    before = torch.random.get_rng_state()
    first, again, other = (space.network(spec, seed).state_dict()["1.weight"] for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("def build(*, classes):\n    return None\n", "own_wrong:build.*can't be built.*input_shape"),
        ("def build(*, classes, input_shape):\n    return 3\n", "gives int.*torch.nn.Module"),
    ],
)
def test_an_own_network_that_is_none(source: str, said: str, recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (recipe.parent / "own_wrong.py").write_text(source)
    monkeypatch.delitem(__import__("sys").modules, "own_wrong", raising=False)
    with pytest.raises(ConfigError, match=said):
        run(recipe, "student={model='own_wrong:build'}")


def test_budgets_of_a_run_need_nothing_else_of_it(tmp_path: Path) -> None:
    """The gate may run on a machine that has neither the data nor the user's own modules."""
    (tmp_path / "recipe.toml").write_text(RECIPE.replace('"mlp"', '"nowhere:build"'))
    (tmp_path / "overrides.json").write_text("[\"benchmark.targets=['mine.toml']\", \"budgets.0.limit='3 %'\"]")
    assert [budget.limit for budget in pipeline.open_gate_spec(tmp_path).budgets] == ["3 %"]
    assert [budget.limit for budget in pipeline.open_gate_spec(tmp_path, ["budgets.0.limit='4 %'"]).budgets] == ["4 %"]
    with pytest.raises(ConfigError, match="did you mean 'limit'"):
        pipeline.open_gate_spec(tmp_path, ["budgets.0.limits='4 %'"])


def test_a_bare_benchmark_is_a_run_without_recipe(tmp_path: Path) -> None:
    store.write_json(tmp_path / "measurements.json", [ACCURACY])
    assert pipeline.open_run(tmp_path).measurements == (ACCURACY,)
    with pytest.raises(StoreError, match="--budgets"):
        pipeline.open_gate_spec(tmp_path)


def test_an_unfinished_gate_is_no_verdict(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text(RECIPE)
    (tmp_path / "gate").mkdir()
    (tmp_path / "gate" / "release.json").write_text("what an earlier run left")
    assert pipeline.open_run(tmp_path).release is None


def test_steps_depend_on_earlier_ones_only() -> None:
    names = [step.name for step in pipeline.STEPS]
    for index, step in enumerate(pipeline.STEPS):
        assert set(step.depends) <= set(names[:index])
        store.code_fingerprint(*step.code)  # raises where there is no such code
