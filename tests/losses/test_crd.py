"""Contrastive distillation against loops in NumPy, its memory, and what it teaches."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from edgekd import registry
from edgekd.errors import ConfigError

crd = registry.function("losses", "crd")
build_projector = registry.load("losses", "crd").build_projector
SAMPLES, NEGATIVES = 30, 12


@pytest.fixture
def projector() -> Any:
    torch.manual_seed(0)
    return build_projector(student_shape=(3,), teacher_shape=(5,), samples=SAMPLES, dimension=4).double()


def batch(seed: int = 1) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(seed)
    return {
        "student_feature": torch.randn(6, 3, generator=generator, dtype=torch.float64),
        "teacher_feature": torch.randn(6, 5, generator=generator, dtype=torch.float64),
        "indices": torch.tensor([0, 29, 7, 3, 12, 28]),
    }


def embeddings(projector: Any, given: dict[str, Any]) -> list[np.ndarray[Any, Any]]:
    found = []
    for side in ("student", "teacher"):
        layer = getattr(projector, side)
        rows = given[f"{side}_feature"].numpy() @ layer.weight.detach().numpy().T + layer.bias.detach().numpy()
        found.append(rows / np.linalg.norm(rows, axis=1, keepdims=True))
    return found


def formula(projector: Any, given: dict[str, Any], draw: np.ndarray[Any, Any], temperature: float) -> float:
    """Tian et al. 2020: the contrastive objective, both ways round, with the constant of Wu et al. 2018."""
    student, teacher = embeddings(projector, given)
    memory = [getattr(projector, f"{side}_memory").numpy() for side in ("student", "teacher")]
    total = 0.0
    for anchors, positives, others in ((student, teacher, memory[1]), (teacher, student, memory[0])):
        raw = [
            [anchor @ others[np.delete(np.arange(SAMPLES), own)[j]] for j in draw]
            for anchor, own in zip(anchors, given["indices"].tolist(), strict=True)
        ]
        negatives = np.exp(np.array(raw) / temperature)
        z = negatives.mean() * SAMPLES
        noise = len(draw) / SAMPLES
        h_same = np.exp((anchors * positives).sum(axis=1) / temperature) / z
        h_same = h_same / (h_same + noise)
        h_other = negatives / z / (negatives / z + noise)
        total -= float((np.log(h_same) + np.log(1 - h_other).sum(axis=1)).mean())
    return total


@pytest.mark.parametrize("temperature", [0.07, 0.5])
def test_equals_the_formula(projector: Any, temperature: float) -> None:
    given = batch()
    torch.manual_seed(5)
    draw = torch.randint(SAMPLES - 1, (NEGATIVES,)).numpy()
    expected = formula(projector, given, draw, temperature)
    torch.manual_seed(5)
    found = crd(**given, projector=projector, temperature=temperature, negatives=NEGATIVES)
    assert found.item() == pytest.approx(expected, rel=1e-7)


def test_no_sample_is_its_own_negative(projector: Any) -> None:
    # A sample's place in the memory is the only one that the scores may not depend on.
    given = batch()
    given["indices"] = torch.full((6,), 7)
    poisoned = copy.deepcopy(projector)
    for memory in (poisoned.student_memory, poisoned.teacher_memory):
        memory[7] = 1e6
    values = []
    for each in (projector, poisoned):
        torch.manual_seed(1)
        values.append(crd(**given, projector=each, negatives=500).item())
    assert values[0] == values[1]


def test_every_other_sample_may_be_a_negative(projector: Any) -> None:
    given = batch()
    for own in (0, 15, SAMPLES - 1):
        given["indices"] = torch.full((6,), own)
        for other in set(range(SAMPLES)) - {own}:
            changed = copy.deepcopy(projector)
            changed.teacher_memory[other] *= -1
            values = []
            for each in (copy.deepcopy(projector), changed):
                torch.manual_seed(1)
                values.append(crd(**given, projector=each, negatives=500).item())
            assert values[0] != values[1], (own, other)


def test_the_memory_follows_what_was_seen_and_only_that(projector: Any) -> None:
    given = batch()
    before = copy.deepcopy(projector.state_dict())
    student, teacher = embeddings(projector, given)
    crd(**given, projector=projector, negatives=NEGATIVES, momentum=0.25)
    for side, rows in (("student_memory", student), ("teacher_memory", teacher)):
        mixed = 0.25 * before[side][given["indices"]].numpy() + 0.75 * rows
        mixed /= np.linalg.norm(mixed, axis=1, keepdims=True)
        after = projector.state_dict()[side].numpy()
        np.testing.assert_allclose(after[given["indices"].numpy()], mixed, rtol=1e-12)
        unseen = np.setdiff1d(np.arange(SAMPLES), given["indices"].numpy())
        np.testing.assert_array_equal(after[unseen], before[side].numpy()[unseen])


def test_the_constant_is_that_of_the_first_batch(projector: Any) -> None:
    assert projector.log_scale.isnan().all()
    crd(**batch(), projector=projector, negatives=NEGATIVES)
    first = projector.log_scale.clone()
    crd(**batch(seed=2), projector=projector, negatives=NEGATIVES)
    assert first.isfinite().all()
    assert torch.equal(projector.log_scale, first)


def test_goes_on_from_its_state_with_the_same_numbers(projector: Any) -> None:
    torch.manual_seed(0)
    crd(**batch(), projector=projector, negatives=NEGATIVES)
    resumed = build_projector(student_shape=(3,), teacher_shape=(5,), samples=SAMPLES, dimension=4).double()
    resumed.load_state_dict(copy.deepcopy(projector.state_dict()))
    values = []
    for each in (projector, resumed):
        torch.manual_seed(9)
        values.append(crd(**batch(seed=2), projector=each, negatives=NEGATIVES).item())
    assert values[0] == values[1]


def test_both_embeddings_are_trained(projector: Any) -> None:
    given = batch()
    crd(**given, projector=projector, negatives=NEGATIVES)  # sets the constant Z

    def value(teacher: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(3)
        fresh = copy.deepcopy(projector)
        del fresh.teacher.weight
        fresh.teacher.weight = weight
        found: torch.Tensor = crd(**{**given, "teacher_feature": teacher}, projector=fresh, negatives=NEGATIVES)
        return found

    weight = projector.teacher.weight.detach().clone().requires_grad_()
    assert torch.autograd.gradcheck(value, (given["teacher_feature"].requires_grad_(), weight))


def test_at_first_it_costs_what_guessing_does() -> None:
    """With all scores alike P = 1 / M, so h = 1 / (1 + N): log(1 + N) + N log(1 + 1 / N), twice."""
    projector = build_projector(student_shape=(3,), teacher_shape=(3,), samples=100, dimension=4).double()
    value = crd(
        student_feature=torch.randn(8, 3, dtype=torch.float64),
        teacher_feature=torch.randn(8, 3, dtype=torch.float64),
        indices=torch.arange(8),
        projector=projector,
        temperature=1e6,
        negatives=50,
    )
    assert value.item() == pytest.approx(2 * (math.log(51) + 50 * math.log(51 / 50)), rel=1e-4)


def test_training_brings_the_two_features_of_a_sample_together() -> None:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(64, 6, generator=generator)
    teacher = torch.tanh(inputs @ torch.randn(6, 8, generator=generator))
    torch.manual_seed(0)
    student = nn.Linear(6, 8)
    projector = build_projector(student_shape=(8,), teacher_shape=(8,), samples=64, dimension=16)
    optimizer = torch.optim.Adam([*student.parameters(), *projector.parameters()], lr=0.02)

    def found_first() -> float:
        with torch.no_grad():
            s = functional.normalize(projector.student(student(inputs)), dim=1)
            t = functional.normalize(projector.teacher(teacher), dim=1)
            return float(((s @ t.T).argmax(dim=1) == torch.arange(64)).float().mean())

    before = found_first()
    for _ in range(150):
        optimizer.zero_grad()
        value = crd(
            student_feature=student(inputs),
            teacher_feature=teacher,
            indices=torch.arange(64),
            projector=projector,
            negatives=32,
        )
        value.backward()
        optimizer.step()
    assert before < 0.2
    assert found_first() > 0.9


def test_maps_and_sequences_become_vectors() -> None:
    projector = build_projector(student_shape=(3, 4, 4), teacher_shape=(7, 5), samples=10, dimension=4)
    assert (projector.student.in_features, projector.teacher.in_features) == (3, 5)
    given = {"student_feature": torch.randn(2, 3, 4, 4), "teacher_feature": torch.randn(2, 7, 5)}
    pooled = {
        "student_feature": given["student_feature"].mean(dim=(2, 3)),
        "teacher_feature": given["teacher_feature"].mean(dim=1),
    }
    values = []
    for each in (given, pooled):
        torch.manual_seed(0)
        values.append(crd(**each, indices=torch.arange(2), projector=copy.deepcopy(projector), negatives=8).item())
    assert values[0] == pytest.approx(values[1], rel=1e-6)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"samples": 1}, "loss crd: 1 training samples leave nothing to contrast; allowed: at least 2 samples"),
        ({"dimension": 0}, "loss crd: dimension = 0; allowed: a whole number, at least 1"),
        ({"student_shape": ()}, "one or more sizes, at least 1"),
        ({"teacher_shape": (3, 2, 2, 2)}, "the teacher's layer gives (3, 2, 2, 2)"),
    ],
)
def test_what_cannot_be_contrasted_is_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build_projector(**{"student_shape": (3,), "teacher_shape": (5,), "samples": 10, **changed})
    assert message in str(caught.value)
