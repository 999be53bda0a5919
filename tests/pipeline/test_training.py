"""Recipes of distillation: assistants, transfer sets, repeats and controls, schedules, caches, fine-tuning."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgekd import pipeline
from edgekd.errors import EdgekdError
from edgekd.records import Measurement, Model

safetensors = pytest.importorskip("safetensors.numpy")
Run = Callable[..., pipeline.Outcome]
TEST = 150
ASSISTANTS = "assistants=[{model='mlp', hidden=[16]}, {model='mlp', hidden=[12], train={epochs=2, batch_size=32}}]"
# Asked of the teacher alone, so that nothing is learned from labels.
SOFT = "distill.losses=[{name='kl', temperature=2.0}]"


def predict(weights: Path, inputs: NDArray[np.float32]) -> NDArray[np.int64]:
    """What a perceptron of one hidden layer predicts, by NumPy from its file."""
    tensors = list(safetensors.load_file(weights).items())
    (w1, w2), (b1, b2) = ([value for key, value in tensors if key.endswith(end)] for end in (".weight", ".bias"))
    if len(b1) < len(b2):  # in the file's order
        (w1, w2), (b1, b2) = (w2, w1), (b2, b1)
    logits = np.maximum(inputs.astype(np.float64) @ w1.T + b1, 0) @ w2.T + b2
    return np.asarray(logits.argmax(1))


def accuracies(outcome: pipeline.Outcome) -> dict[str, Measurement]:
    found = [each for each in outcome.run.measurements if each.metric == "accuracy"]
    assert len({each.model for each in found}) == len(found)
    return {each.model: each for each in found}


def model(outcome: pipeline.Outcome, name: str) -> Model:
    return next(each for each in outcome.run.models if each.name == name)


def logged(recipe: Path) -> list[int]:
    """How many samples the teacher of `own_teacher.py` saw at a time, and forget it."""
    log = recipe.parent / "asked.txt"
    lines = log.read_text().splitlines() if log.exists() else []
    log.unlink(missing_ok=True)
    return [int(line) for line in lines]


OWN_TEACHER = '''
"""A linear teacher that writes down what it is asked."""
import numpy as np
import torch
from pathlib import Path


class Teacher(torch.nn.Module):
    def __init__(self, weights):
        super().__init__()
        self.register_buffer("weights", torch.from_numpy(weights))

    def forward(self, inputs):
        with Path("asked.txt").open("a") as log:
            print(len(inputs), file=log)
        return inputs @ self.weights


def load(*, weights, factor: float = 1.0):
    return Teacher(np.load(weights) * np.float32(factor))
'''


@pytest.fixture
def own_teacher(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An override: a teacher of the user's own function, with weights."""
    (recipe.parent / "own_teacher.py").write_text(OWN_TEACHER)
    monkeypatch.delitem(__import__("sys").modules, "own_teacher", raising=False)
    np.save(recipe.parent / "weights.npy", np.eye(6, 3, dtype=np.float32))
    return "teachers=[{source='own_teacher:load', weights='weights.npy', factor=2.0}]"


# --- assistants ----------------------------------------------------------------------------------


def test_each_assistant_teaches_the_next(recipe: Path, run: Run) -> None:
    outcome = run(ASSISTANTS)
    assert outcome.made == ("teachers", "assistants", "distill")
    assert [(each.name, each.role) for each in outcome.run.models] == [
        ("teacher-0", "teacher"),
        ("assistant-0", "assistant"),
        ("assistant-1", "assistant"),
        ("student", "student"),
    ]
    assert {name: set(each.scores) for name, each in outcome.run.teachings.items()} == {
        "assistant-0": {"teacher-0"},
        "assistant-1": {"assistant-0"},
        "student": {"assistant-1"},
    }
    assert {name: len(each) for name, each in outcome.run.histories.items()} == {
        "teacher-0": 3,
        "assistant-0": 3,  # the student's schedule
        "assistant-1": 2,  # its own
        "student": 3,
    }
    with np.load(recipe.parent / "clouds.npz") as data:
        inputs, labels = data["x_test"], data["y_test"]
    for name, measured in accuracies(outcome).items():
        expected = predict(model(outcome, name).path, inputs) == labels
        assert measured.samples == tuple(expected.astype(float)), name
    assert len(accuracies(outcome)) == 4


@pytest.mark.parametrize(
    ("override", "made"),
    [
        ("assistants.0.hidden=[17]", ("assistants", "distill")),
        pytest.param("assistants.1.train.epochs=3", ("assistants", "distill"), marks=pytest.mark.slow),
        pytest.param("student.hidden=[7]", ("distill",), marks=pytest.mark.slow),
        # Assistants are trained once.
        pytest.param("distill.seeds=2", ("distill",), marks=pytest.mark.slow),
        pytest.param("distill.control=true", ("distill",), marks=pytest.mark.slow),
        # What changes no number makes nothing again.
        ("distill.cache_folder='kept'", ()),
    ],
)
def test_what_an_assistant_depends_on(override: str, made: tuple[str, ...], run: Run) -> None:
    run(ASSISTANTS)
    assert run(ASSISTANTS, override).made == made


def test_an_assistant_that_is_gone_leaves_no_file(recipe: Path, run: Run) -> None:
    run(ASSISTANTS)
    outcome = run()
    assert outcome.made == ("assistants", "distill")
    assert not list((recipe.parent / "run" / "assistants").glob("*.safetensors"))
    assert {each.role for each in outcome.run.models} == {"teacher", "student"}


# --- transfer sets -------------------------------------------------------------------------------


def test_a_student_learns_a_class_that_it_never_saw(recipe: Path, run: Run) -> None:
    """As Hinton et al. 2015, section 3: the teacher's outputs tell of it."""
    outcome = run("transfer={drop_classes=['2']}", SOFT, "distill.epochs=15", "teachers.0.train.epochs=8")
    with np.load(recipe.parent / "clouds.npz") as data:
        never_seen = data["y_test"] == 2
    right = np.array(accuracies(outcome)["student"].samples)
    assert right[never_seen].mean() > 0.5
    # From labels alone it can't.
    alone = run("transfer={drop_classes=['2']}", "distill.losses=[{name='cross_entropy'}]", "teachers=[]", out="alone")
    assert np.array(accuracies(alone)["student"].samples)[never_seen].mean() == 0


@pytest.mark.slow
def test_unlabelled_data_of_another_file(recipe: Path, run: Run) -> None:
    random = np.random.default_rng(5)
    np.savez(recipe.parent / "plain.npz", x=random.normal(0.5, 1, (500, 6)).astype(np.float32))
    transfer = "transfer={source='npz', path='plain.npz', labels='none', labelled=false}"
    first = run(transfer, SOFT, "distill.epochs=6")
    assert first.run.teachings["student"].caches[0].samples == 500
    assert np.mean(accuracies(first)["student"].samples) > 0.8
    # Other bytes in the same file are another transfer set; the teacher does not know of it.
    np.savez(recipe.parent / "plain.npz", x=random.normal(0.5, 1, (300, 6)).astype(np.float32))
    again = run(transfer, SOFT, "distill.epochs=6")
    assert again.made == ("distill",)
    assert again.run.teachings["student"].caches[0].samples == 300


def test_labels_that_may_not_be_used_change_nothing(recipe: Path, run: Run) -> None:
    """A transfer set may have labels that are wrong."""
    students = []
    for seed in (0, 1):
        random = np.random.default_rng(seed)
        inputs = np.random.default_rng(5).normal(0.5, 1, (200, 6)).astype(np.float32)
        np.savez(recipe.parent / "other.npz", x=inputs, y=random.integers(0, 3, 200))
        overrides = ("transfer={source='npz', path='other.npz', labelled=false}", SOFT)
        students.append(run(*overrides, out=f"run-{seed}").run.models[-1].sha256)
    assert students[0] == students[1]


@pytest.mark.parametrize(
    ("transfer", "said"),
    [
        ("{drop_classes=['7']}", "transfer.drop_classes: no class '7'"),
        ("{keep_classes=['0'], drop_classes=['0']}", "no samples are left"),
        ("{source='npz', path='gone.npz'}", "gone.npz"),
        ("{source='digits'}", r"samples of shape \(1, 8, 8\).*allowed: those of the data"),
    ],
)
def test_a_transfer_set_that_can_not_be_meant(transfer: str, said: str, run: Run) -> None:
    with pytest.raises(EdgekdError, match=said):
        run(f"transfer={transfer}")


# --- repeats and controls ------------------------------------------------------------------------


def test_repeats_and_controls(run: Run) -> None:
    outcome = run("distill.seeds=2", "distill.seed=5", "distill.control=true", "distill.weak_teachers='warn'")
    trained = [each for each in outcome.run.models if each.role != "teacher"]
    assert [(each.name, each.role) for each in trained] == [
        ("student-seed-5", "repeat"),
        ("control-seed-5", "control"),
        ("student-seed-6", "repeat"),
        ("control-seed-6", "control"),
        ("student", "student"),
    ]
    # The best on validation data ships; a control never does.
    scores = {
        name: max(record.validation_score for record in history)
        for name, history in outcome.run.histories.items()
        if name.startswith("student-seed")
    }
    best = max(scores, key=lambda name: (scores[name], name == "student-seed-5"))
    assert model(outcome, "student").sha256 == model(outcome, best).sha256
    assert len({each.sha256 for each in trained}) == 4
    measured = accuracies(outcome)
    assert {each.role for each in measured.values()} == {"teacher", "repeat", "control", "student"}
    assert {len(each.samples) for each in measured.values()} == {TEST}
    assert measured["student"].samples == measured[best].samples


def test_a_control_is_the_same_student_taught_by_labels(run: Run) -> None:
    """Trained without teachers by hand it is the same bytes: same first weights, data order and schedule."""
    outcome = run("distill.control=true", "distill.weak_teachers='warn'")
    by_hand = run("teachers=[]", "distill.losses=[{name='cross_entropy'}]", out="by-hand")
    assert model(outcome, "control").sha256 == model(by_hand, "student").sha256
    assert model(outcome, "control").sha256 != model(outcome, "student").sha256


def test_the_test_split_decides_nothing(recipe: Path, run: Run) -> None:
    """With other test labels all networks are the same bytes, and only what is measured differs."""
    overrides = ("distill.seeds=2", "distill.control=true", "distill.weak_teachers='warn'", ASSISTANTS)
    before = run(*overrides)
    with np.load(recipe.parent / "clouds.npz") as archive:
        arrays: dict[str, Any] = dict(archive)
    np.savez(recipe.parent / "clouds.npz", **{**arrays, "y_test": (arrays["y_test"] + 1) % 3})
    after = run(*overrides, out="other")
    assert [(each.name, each.sha256) for each in before.run.models] == [
        (each.name, each.sha256) for each in after.run.models
    ]
    for name, measured in accuracies(before).items():
        assert measured.samples != accuracies(after)[name].samples


# --- schedules -----------------------------------------------------------------------------------


@pytest.mark.slow
def test_weights_and_temperatures_follow_their_schedules(run: Run) -> None:
    losses = (
        "distill.losses=[{name='kl', weight={start=1.0, end=0.0}, temperature={start=8, end=1, shape='cosine'}},"
        "{name='cross_entropy', weight={start=0.5, end=2, begin=0.5, finish=0.5}}]"
    )
    outcome = run(losses, "distill.epochs=4")
    terms = [record.terms for record in outcome.run.histories["student"]]
    kl, hard = ([epoch[index].weight for epoch in terms] for index in (0, 1))
    assert kl == sorted(kl, reverse=True)
    assert 1.0 >= kl[0] > kl[-1] >= 0.0
    assert len(set(kl)) == 4
    assert set(hard) <= {0.5, 2.0}
    assert (hard[0], hard[-1]) == (0.5, 2.0)
    fixed = run("distill.losses=[{name='kl', temperature=8.0}]", "distill.epochs=4", out="fixed")
    cooling = run("distill.losses=[{name='kl', temperature={start=8, end=1}}]", "distill.epochs=4", out="cooling")
    constant = run("distill.losses=[{name='kl', temperature={start=8, end=8}}]", "distill.epochs=4", out="constant")
    assert model(fixed, "student").sha256 == model(constant, "student").sha256
    assert model(fixed, "student").sha256 != model(cooling, "student").sha256


# --- caches --------------------------------------------------------------------------------------


def test_a_warm_run_asks_the_teacher_about_the_test_split_only(recipe: Path, run: Run, own_teacher: str) -> None:
    mixed = "distill.augmentations=[{name='mixup'}]"
    run(own_teacher, mixed)
    # 3 epochs see 3 views of 300 samples; 100 are for validation.
    assert sum(logged(recipe)) >= 3 * 300 + 100 + TEST
    for index, override in enumerate(["distill.seed=9", "student.hidden=[7]", "distill.learning_rate=0.05"]):
        run(own_teacher, mixed, override, out=f"warm-{index}")
        assert sum(logged(recipe)) == TEST


def test_another_teacher_has_another_cache(recipe: Path, run: Run, own_teacher: str, own_cache: Path) -> None:
    run(own_teacher)
    logged(recipe)
    np.save(recipe.parent / "weights.npy", np.eye(6, 3, dtype=np.float32) * 3)
    again = run(own_teacher)
    assert again.made == ("teachers", "assistants", "distill")
    assert sum(logged(recipe)) >= 300 + 100 + TEST
    assert len(list((own_cache / "teachers").iterdir())) == 2
    # Options of the user's function count as well.
    run(own_teacher.replace("factor=2.0", "factor=1.5"))
    assert len(list((own_cache / "teachers").iterdir())) == 3


def test_a_damaged_cache_stops_the_run(run: Run, own_teacher: str, own_cache: Path) -> None:
    whole = run(own_teacher)
    (shard,) = (own_cache / "teachers").rglob("*.logits")
    content = bytearray(shard.read_bytes())
    content[10] ^= 1
    shard.write_bytes(content)
    with pytest.raises(EdgekdError, match=r"damaged.*delete the file"):
        run(own_teacher, out="other")
    shard.unlink()
    assert model(run(own_teacher, out="other"), "student").sha256 == model(whole, "student").sha256


def test_with_and_without_a_cache_the_student_learns_the_same(run: Run, own_teacher: str) -> None:
    """But for float16, in which logits are kept."""
    cached, live = (run(own_teacher, f"distill.cache='{cache}'", SOFT, out=cache) for cache in ("on", "off"))
    assert not live.run.teachings["student"].caches
    one, two = (safetensors.load_file(model(each, "student").path) for each in (cached, live))
    for key, value in one.items():
        np.testing.assert_allclose(value, two[key], atol=2e-2)


# --- fine-tuning ---------------------------------------------------------------------------------


@pytest.mark.slow
def test_training_goes_on_from_weights(recipe: Path, run: Run) -> None:
    first = run()
    kept = recipe.parent / "kept.safetensors"
    kept.write_bytes(model(first, "teacher-0").path.read_bytes())
    tuned = "teachers=[{model='mlp', hidden=[32], weights='kept.safetensors', train={epochs=1, learning_rate=1e-4}}]"
    outcome = run(tuned, out="tuned")
    before, after = safetensors.load_file(kept), safetensors.load_file(model(outcome, "teacher-0").path)
    assert before.keys() == after.keys()
    assert any((before[key] != after[key]).any() for key in before)
    for key, value in before.items():
        np.testing.assert_allclose(after[key], value, atol=0.01)
    assert len(outcome.run.histories["teacher-0"]) == 1
    # Where the weights lie is nothing, what they are is all.
    (recipe.parent / "moved").mkdir()
    kept.rename(recipe.parent / "moved" / "kept.safetensors")
    moved = tuned.replace("kept.safetensors", "moved/kept.safetensors")
    assert run(moved, out="tuned").made == ()
    other = json.dumps(str(model(outcome, "teacher-0").path))
    assert "teachers" in run(tuned.replace("'kept.safetensors'", other), out="tuned").made
