"""Terms of a loss: their weights over time, the layers they compare, and how much each counts."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import log_softmax
from torch import nn
from torch.nn import functional

from edgekd.datasets import Dataset, Split
from edgekd.errors import ConfigError
from edgekd.progress import Progress
from edgekd.records import AugmentationTerm, DistillSpec, LossTerm, Schedule, Tokens
from edgekd.stages.distill import Distilled, Teacher, distill, on_device
from edgekd.stages.distill.teachers import hash_of
from edgekd.stages.distill.terms import Objective, load_terms, shares_of
from edgekd.stages.distill.views import Batch, Views

Make = Callable[..., nn.Module]
Own = Callable[[str], str]
Stop = Callable[[int], Progress]
CPU = torch.device("cpu")
CE = LossTerm(name="cross_entropy", weight=0.5)
KL = LossTerm(name="kl", options={"temperature": 4.0})
HINT = LossTerm(name="hint", weight=2.0, student_layer="2", teacher_layer="2")
CRD = LossTerm(name="crd", student_layer="3", teacher_layer="3", options={"dimension": 8, "negatives": 16})
SPEC = DistillSpec(epochs=3, batch_size=16, learning_rate=0.05, mixed_precision="off", weak_teachers="warn")


def objective_of(
    data: Dataset, student: nn.Module, teacher: nn.Module | None, *losses: LossTerm
) -> tuple[Objective, Batch]:
    views = Views(data.train, data, (), 0, CPU)
    batch = views.batch(torch.arange(20), 0)
    sample = views.batch(torch.arange(2), 0).inputs
    made = Objective(load_terms(losses), student=student, teacher=teacher, sample=sample, samples=60, where="own")
    return made, batch


# --- schedules -----------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", ["linear", "cosine"])
@pytest.mark.parametrize(("begin", "finish"), [(0.0, 1.0), (0.25, 0.75)])
def test_weights_and_options_follow_their_schedule(
    data: Dataset, make: Make, shape: str, begin: float, finish: float
) -> None:
    weight = {"start": 1.0, "end": 0.2, "shape": shape, "begin": begin, "finish": finish}
    heat = {"start": 8.0, "end": 2.0, "shape": shape, "begin": begin, "finish": finish}
    term = LossTerm(name="kl", weight=Schedule(**weight), options={"temperature": heat})  # type: ignore[arg-type]
    objective, batch = objective_of(data, make(), None, term)
    chance = np.random.default_rng(0)
    student, teacher = (chance.normal(0, 3, (20, 4)) for _ in range(2))
    for progress in (0.0, 0.1, 0.25, 0.5, 0.6, 0.75, 1.0):
        done = np.clip((progress - begin) / (finish - begin), 0, 1)
        share = done if shape == "linear" else (1 - np.cos(np.pi * done)) / 2
        scale, temperature = 1.0 + (0.2 - 1.0) * share, 8.0 + (2.0 - 8.0) * share
        q, p = (log_softmax(each / temperature, axis=1) for each in (student, teacher))
        expected = scale * temperature**2 * (np.exp(p) * (p - q)).sum() / 20
        (found,) = objective(torch.from_numpy(student), torch.from_numpy(teacher), batch, progress)
        assert float(found) == pytest.approx(expected, rel=1e-6)


def test_progress_runs_from_the_first_to_the_last_step(data: Dataset, make: Make, own: Own) -> None:
    name = own(
        "seen = []\ndef loss(*, student, level: float):\n    seen.append(level)\n    return student.mean() * 0 + 1.0\n"
    )
    term = LossTerm(name=f"{name}:loss", options={"level": {"start": 0, "end": 8}})
    distill(make(), data=data, spec=replace(SPEC, losses=(term,)))
    from edgekd import registry

    seen = registry.function("losses", f"{name}:seen")
    assert seen == pytest.approx(range(9)), "three epochs of three steps"


# --- layers --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("term", "words"),
    [
        (
            replace(HINT, student_layer="conv"),
            "own: losses.1.student_layer: no layer 'conv'; allowed: 0, 1, 2, 3, 4, 5",
        ),
        (replace(HINT, teacher_layer=None), "own: losses.1.teacher_layer: missing: a feature loss compares two layers"),
        (replace(HINT, student_layer="5"), "own: losses.1 (hint): "),
        (replace(CRD, options={"dimension": 0}), "own: losses.1 (crd): "),
        (LossTerm(name="minilm", student_layer="2", teacher_layer="2"), "own: losses.1 (minilm): "),
    ],
)
def test_layers_that_can_t_be_compared_are_named(data: Dataset, make: Make, term: LossTerm, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        objective_of(data, make(), make(1), CE, term)
    assert str(caught.value).startswith(words)
    assert "\n" not in str(caught.value)


def test_a_layer_that_is_nearly_right_is_suggested_and_all_problems_are_said_at_once(data: Dataset) -> None:
    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.flatten = nn.Flatten()
            self.hidden = nn.Linear(16, 8)
            self.last = nn.Linear(8, 4)
            self.unused = nn.Linear(8, 8)

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            outputs: torch.Tensor = self.last(self.hidden(self.flatten(inputs)))
            return outputs

    student, teacher = Named(), Named()
    wrong = LossTerm(name="hint", student_layer="hiden", teacher_layer="lasst")
    with pytest.raises(ConfigError) as caught:
        objective_of(data, student, teacher, wrong)
    assert str(caught.value).startswith("2 problems\n")
    assert "did you mean 'hidden'" in str(caught.value)
    assert "did you mean 'last'" in str(caught.value)
    with pytest.raises(
        ConfigError, match=r"the teacher's layer 'unused' gives no tensor, or is not used; name another"
    ):
        objective_of(data, student, teacher, replace(wrong, student_layer="hidden", teacher_layer="unused"))
    assert not any(module._forward_hooks for network in (student, teacher) for module in network.modules())


def test_features_need_a_live_teacher(data: Dataset, make: Make) -> None:
    with pytest.raises(ConfigError, match=r'features need a live teacher; set cache = "off"'):
        objective_of(data, make(), None, HINT)
    with pytest.raises(ConfigError, match="cache: loss 'hint' compares features, which a cache does not hold"):
        distill(make(), data=data, teachers=[make(1)], spec=replace(SPEC, cache="on", losses=(HINT,)))


@pytest.mark.parametrize("is_stopped", [False, True])
def test_hooks_are_gone_after_training_and_after_an_error(
    data: Dataset, make: Make, stop: Stop, *, is_stopped: bool
) -> None:
    student, teacher = make(), make(1)
    spec = replace(SPEC, losses=(CE, HINT))
    if is_stopped:
        with pytest.raises(KeyboardInterrupt):
            distill(student, data=data, teachers=[teacher], spec=spec, progress=stop(0))
    else:
        student = distill(student, data=data, teachers=[teacher], spec=spec).network
    assert not any(module._forward_hooks for network in (student, teacher) for module in network.modules())


class Reader(nn.Module):
    """Gives a vector for each token, and logits."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.linear = nn.Embedding(9, 4), nn.Embedding(9, 4), nn.Linear(4, 4)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        outputs: torch.Tensor = self.linear(self.query(inputs.long()).mean(1) + self.key(inputs.long()).mean(1))
        return outputs


def test_losses_of_texts_are_told_what_is_padding_and_layers_lie_side_by_side(own: Own) -> None:
    name = own(
        "seen = []\n"
        "def loss(*, student_feature, mask):\n"
        "    seen.append((student_feature, mask))\n    return student_feature.mean()\n"
    )
    tokens = np.array([[1, 2, 3], [4, 0, 0], [5, 6, 0]])
    split = Split(inputs=tokens, labels=np.array([0, 1, 2]))
    data = Dataset(
        classes=("a", "b", "c", "d"),
        scale=1.0,
        train=split,
        validation=split,
        test=split,
        tokens=Tokens(vocabulary=9, pad=0),
    )
    views, network = Views(split, data, (), 0, CPU), Reader()
    terms = load_terms(
        [LossTerm(name=f"{name}:loss", student_layer=layer, teacher_layer="query") for layer in ("query+key", "linear")]
    )
    batch = views.batch(torch.arange(3), 0)
    made = Objective(terms, student=network, teacher=network, sample=batch.inputs, samples=3, pad=0, where="own")
    made(network(batch.inputs), None, batch, 0.0)
    from edgekd import registry

    seen: Any = registry.function("losses", f"{name}:seen")
    (both, mask), (vectors, none) = seen
    assert torch.equal(both, torch.cat([network.query(batch.inputs.long()), network.key(batch.inputs.long())], dim=2))
    assert mask.tolist() == (tokens != 0).tolist()
    assert (vectors.shape, none) == ((3, 4), None), "there is no token that a whole text's vector belongs to"
    terms = load_terms([LossTerm(name="hint", student_layer="query+linear", teacher_layer="query")])
    with pytest.raises(ConfigError, match="layers between plus signs give other shapes"):
        Objective(terms, student=network, teacher=network, sample=batch.inputs, samples=3, pad=0, where="own")


def test_features_are_those_of_the_layers_on_the_very_batch(data: Dataset, make: Make) -> None:
    student, teacher = make().eval(), make(1).eval()
    objective, batch = objective_of(data, student, teacher, CE, HINT)
    with torch.no_grad():
        outputs, answers = student(batch.inputs), teacher(batch.inputs)
        _, hint = objective(outputs, answers, batch, 0.0)
        regress = objective.projectors["1"]
        assert isinstance(regress, nn.Conv2d)
        u, v = (network[:3](batch.inputs).double().numpy() for network in (teacher, student))  # type: ignore[index]
    weight, bias = (each.detach().double().numpy() for each in (regress.weight, regress.bias))  # type: ignore[union-attr]
    predicted = np.einsum("dc,bchw->bdhw", weight[:, :, 0, 0], v) + bias[:, None, None]
    assert float(hint) == pytest.approx(2.0 * ((predicted - u) ** 2).mean() / 2, rel=1e-5)


@pytest.mark.parametrize("term", [HINT, CRD])
def test_a_teacher_that_is_loaded_anew_each_time_shows_its_features(data: Dataset, make: Make, term: LossTerm) -> None:
    """Recipes load teachers from files: the copy that is asked must be the one that is watched."""
    spec = replace(SPEC, losses=(CE, term))
    shelf = Teacher(name="own", fingerprint=hash_of(make(1)), outputs=4, weight=1.0, load=lambda: on_device(make(1)))
    loaded = distill(make(), data=data, teachers=[shelf], spec=spec)
    assert loaded.history == distill(make(), data=data, teachers=[make(1)], spec=spec).history


# --- projectors ----------------------------------------------------------------------------------


def outcome(trained: Distilled) -> tuple[object, list[bytes]]:
    return trained.history, [value.numpy().tobytes() for value in trained.network.state_dict().values()]


@pytest.mark.parametrize("term", [HINT, CRD])
def test_what_a_loss_learns_is_trained_kept_and_gone_on_with(
    data: Dataset, make: Make, tmp_path: Path, stop: Stop, term: LossTerm
) -> None:
    spec = replace(SPEC, losses=(KL, CE, term), augmentations=(AugmentationTerm(name="mixup"),), ema=0.9)
    whole = outcome(distill(make(), data=data, teachers=[make(1)], spec=spec, folder=tmp_path / "whole"))
    for after in (4, 7):
        with pytest.raises(KeyboardInterrupt):
            distill(
                make(), data=data, teachers=[make(1)], spec=spec, folder=tmp_path / str(after), progress=stop(after)
            )
        kept = torch.load(tmp_path / str(after) / "checkpoint.pt", weights_only=True)
        assert kept["epoch"] == after // 3
        assert outcome(distill(make(), data=data, teachers=[make(1)], spec=spec, folder=tmp_path / str(after))) == whole
    first, last = (
        torch.load(tmp_path / name / "checkpoint.pt", weights_only=True)["objective"] for name in ("4", "whole")
    )
    assert first.keys() == last.keys()
    assert all(key.startswith("projectors.2.") for key in first)
    with pytest.raises(KeyboardInterrupt):
        distill(make(), data=data, teachers=[make(1)], spec=spec, folder=tmp_path / "early", progress=stop(4))
    early = torch.load(tmp_path / "early" / "checkpoint.pt", weights_only=True)["objective"]
    changed = [key for key in early if not torch.equal(early[key], last[key])]
    assert any("weight" in key or "memory" in key for key in changed), "it was trained"


def test_projectors_depend_on_the_seed_alone(data: Dataset, make: Make) -> None:
    results = []
    for global_seed in (1, 2):
        torch.manual_seed(global_seed)
        results.append(outcome(distill(make(), data=data, teachers=[make(1)], spec=replace(SPEC, losses=(CE, HINT)))))
    assert results[0] == results[1]


# --- balance -------------------------------------------------------------------------------------


def test_shares_are_those_of_torch_s_own_gradients(data: Dataset, make: Make) -> None:
    student, teacher = make(dropout=0.0).eval(), make(1).eval()
    losses = (replace(KL, weight=0.9), CE, HINT)
    objective, batch = objective_of(data, student, teacher, *losses)
    weights = list(student.parameters())
    with torch.no_grad():
        answers = teacher(batch.inputs)
    terms = objective(student(batch.inputs), answers, batch, 0.0)
    found = shares_of(terms, objective, weights, 0.0)

    def alone(index: int) -> tuple[float, float]:
        outputs = student(batch.inputs)
        labels = torch.from_numpy(data.train.labels[:20])
        if index == 0:
            p, q = (functional.log_softmax(each / 4, 1) for each in (answers, outputs))
            loss = 0.9 * 16 * (p.exp() * (p - q)).sum() / 20
        elif index == 1:
            loss = 0.5 * functional.cross_entropy(outputs, labels)
        else:
            with torch.no_grad():
                wanted = teacher[:3](batch.inputs)  # type: ignore[index]
            loss = ((objective.projectors["2"](student[:3](batch.inputs)) - wanted) ** 2).mean()  # type: ignore[index]
        student.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch's stubs
        squares = [float((each.grad.double() ** 2).sum()) for each in weights if each.grad is not None]
        return float(loss.detach()), float(np.sqrt(sum(squares)))

    sizes, norms = np.array([alone(index) for index in range(3)]).T
    assert [each.name for each in found] == ["kl", "cross_entropy", "hint"]
    assert [each.weight for each in found] == [0.9, 0.5, 2.0]
    np.testing.assert_allclose([each.loss for each in found], sizes / sizes.sum(), rtol=1e-4)
    np.testing.assert_allclose([each.gradient for each in found], norms / norms.sum(), rtol=1e-4)


def test_measuring_the_balance_changes_nothing_and_one_term_has_none(data: Dataset, make: Make) -> None:
    one = distill(make(), data=data, teachers=[make(1)], spec=replace(SPEC, losses=(replace(KL, weight=0.5),)))
    assert all(record.terms == () for record in one.history)
    halves = replace(SPEC, losses=(replace(KL, weight=0.25), replace(KL, weight=0.25)))
    two = distill(make(), data=data, teachers=[make(1)], spec=halves)
    for record, other in zip(one.history, two.history, strict=True):
        assert other.train_loss == pytest.approx(record.train_loss, rel=1e-4)
        assert [term.gradient for term in other.terms] == pytest.approx([0.5, 0.5])


def test_a_term_that_hardly_counts_is_warned_of(
    data: Dataset, make: Make, quarters: Make, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "edgekd")
    spec = replace(SPEC, losses=(KL, replace(CE, weight=1e-5)))
    distill(make(), data=data, teachers=[quarters()], spec=spec)
    (record,) = caplog.records
    assert "student: loss 'cross_entropy' is at most" in record.getMessage()
    assert "raise its weight or leave it out" in record.getMessage()
    caplog.clear()
    # A weight that rises counts in the end.
    rising = replace(CE, weight=Schedule(start=0.0, end=1.0))
    distill(make(), data=data, teachers=[quarters()], spec=replace(spec, losses=(KL, rising)))
    assert not caplog.records


# --- losses of one's own -------------------------------------------------------------------------


def test_a_loss_of_one_s_own_is_given_what_it_names(data: Dataset, make: Make, quarters: Make, own: Own) -> None:
    name = own(
        "import torch\n"
        "def loss(*, student, teacher, labels, indices, power: float = 2.0):\n"
        "    assert labels.dtype == torch.int64 and indices.dtype == torch.int64\n"
        "    assert student.shape == teacher.shape == (len(labels), 4)\n"
        "    assert not teacher.requires_grad\n"
        "    return (student - teacher).abs().pow(power).mean()\n"
    )
    spec = replace(SPEC, cache="off", losses=(LossTerm(name=f"{name}:loss", options={"power": 2.0}),))
    mine = distill(make(), data=data, teachers=[quarters()], spec=spec)
    known = distill(make(), data=data, teachers=[quarters()], spec=replace(spec, losses=(LossTerm(name="mse"),)))
    for one, other in zip(mine.history, known.history, strict=True):
        assert one.train_loss == pytest.approx(other.train_loss, rel=1e-5)


def test_a_feature_loss_of_one_s_own_may_bring_a_projector(data: Dataset, make: Make, own: Own) -> None:
    name = own(
        "from torch import nn\n"
        "def loss(*, student_feature, teacher_feature, projector):\n"
        "    return (projector(student_feature) - teacher_feature).pow(2).mean() / 2\n"
        "def build_projector(*, student_shape, teacher_shape):\n"
        "    return nn.Conv2d(student_shape[0], teacher_shape[0], kernel_size=1)\n"
    )
    mine, known = (
        distill(
            make(),
            data=data,
            teachers=[make(1)],
            spec=replace(SPEC, losses=(CE, replace(HINT, name=each))),
        )
        for each in (f"{name}:loss", "hint")
    )
    assert [record.train_loss for record in mine.history] == pytest.approx(
        [record.train_loss for record in known.history], rel=1e-6
    )
