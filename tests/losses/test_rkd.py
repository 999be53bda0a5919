"""Distances and angles against loops over pairs and triplets in NumPy and SciPy."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.spatial.distance import pdist, squareform
from scipy.special import huber
from scipy.stats import ortho_group

from edgekd import registry
from edgekd.errors import ConfigError

rkd = registry.function("losses", "rkd")
check_shapes = registry.load("losses", "rkd").check_shapes


def cosine(x: NDArray[Any], i: int, j: int, k: int) -> float:
    one, other = x[i] - x[j], x[k] - x[j]
    return float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))


def formula(student: NDArray[Any], teacher: NDArray[Any]) -> tuple[float, float]:
    """The two parts: distances over their mean, and angles."""
    potentials = [squareform(pdist(x) / pdist(x).mean()) for x in (student, teacher)]
    pairs = list(permutations(range(len(student)), 2))
    triplets = list(permutations(range(len(student)), 3))
    distance = sum(huber(1, potentials[0][pair] - potentials[1][pair]) for pair in pairs) / len(pairs)
    angle = sum(huber(1, cosine(student, *each) - cosine(teacher, *each)) for each in triplets)
    return float(distance), float(angle) / max(1, len(triplets))


@settings(deadline=None, max_examples=30)
@given(st.integers(2, 6), st.integers(1, 5), st.integers(0, 2**32))
def test_equals_the_formula(batch: int, width: int, seed: int) -> None:
    chance = np.random.default_rng(seed)
    student, teacher = chance.normal(size=(batch, width)), chance.normal(2, 5, size=(batch, 4))
    distance, angle = formula(student, teacher)
    s, t = torch.from_numpy(student), torch.from_numpy(teacher)
    given = {"student_feature": s, "teacher_feature": t}
    assert float(rkd(**given, distance=1.0, angle=0.0)) == pytest.approx(distance, rel=1e-6, abs=1e-9)
    assert float(rkd(**given, distance=0.0, angle=1.0)) == pytest.approx(angle, rel=1e-6, abs=1e-9)
    assert float(rkd(**given)) == pytest.approx(distance + 2 * angle, rel=1e-6, abs=1e-9)


def test_maps_are_flattened() -> None:
    student, teacher = np.random.default_rng(0).normal(size=(2, 5, 3, 2, 2))
    distance, angle = formula(student.reshape(5, 12), teacher.reshape(5, 12))
    found = rkd(student_feature=torch.from_numpy(student), teacher_feature=torch.from_numpy(teacher))
    assert float(found) == pytest.approx(distance + 2 * angle, rel=1e-9)


def test_scale_rotation_and_shift_are_free() -> None:
    teacher = np.random.default_rng(1).normal(size=(6, 4))
    student = 0.01 * teacher @ ortho_group.rvs(4, random_state=0) + 7
    found = rkd(student_feature=torch.from_numpy(student), teacher_feature=torch.from_numpy(teacher))
    assert float(found) == pytest.approx(0, abs=1e-12)


def test_a_common_offset_costs_no_digits() -> None:
    chance = np.random.default_rng(2)
    student, teacher = chance.normal(size=(6, 4)), chance.normal(size=(6, 4))
    far = torch.from_numpy((student + 4096).astype(np.float32))
    expected = sum(np.array(formula(far.numpy().astype(np.float64), teacher)) * [1, 2])
    found = rkd(student_feature=far, teacher_feature=torch.from_numpy(teacher.astype(np.float32)))
    assert float(found) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("batch", [1, 2])
def test_small_batches_have_no_angles(batch: int) -> None:
    student, teacher = torch.randn(2, batch, 3)
    assert float(rkd(student_feature=student, teacher_feature=teacher)) == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_coincident_samples_keep_gradients_finite(dtype: torch.dtype) -> None:
    teacher = torch.randn(5, 3, dtype=dtype)
    for student in (torch.ones(5, 3, dtype=dtype), teacher[[0, 0, 1, 2, 3]] * 100):
        student = student.clone().requires_grad_()  # noqa: PLW2901
        value = rkd(student_feature=student, teacher_feature=teacher)
        (gradient,) = torch.autograd.grad(value, student)
        assert torch.isfinite(value)
        assert torch.isfinite(gradient).all()
        assert float(value.detach()) > 0


@pytest.mark.parametrize("swapped", [False, True])
def test_a_pair_that_coincides_in_one_network_has_no_angle_to_compare(swapped: bool) -> None:
    distinct = np.random.default_rng(3).normal(size=(4, 3))
    doubled = distinct[[0, 0, 2, 3]]
    student, teacher = (distinct, doubled) if swapped else (doubled, distinct)
    coincident = {0, 1}
    # An angle is lost where its vertex, in the middle, coincides with one of its ends.
    kept = [each for each in permutations(range(4), 3) if coincident not in (set(each[:2]), set(each[1:]))]
    expected = sum(huber(1, cosine(student, *each) - cosine(teacher, *each)) for each in kept) / 24
    given = {"student_feature": torch.from_numpy(student), "teacher_feature": torch.from_numpy(teacher)}
    assert float(rkd(**given, distance=0.0, angle=1.0)) == pytest.approx(float(expected), rel=1e-9)
    assert 0 < len(kept) < 24


def test_features_without_values_are_refused() -> None:
    check_shapes(student_shape=(8, 4, 4), teacher_shape=(16,))
    with pytest.raises(ConfigError, match=r"^loss rkd: the student's layer gives \(8, 0\), the teacher's \(4,\)"):
        check_shapes(student_shape=(8, 0), teacher_shape=(4,))
