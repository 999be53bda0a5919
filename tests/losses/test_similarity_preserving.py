"""Similarities of samples against their formula in NumPy float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ortho_group

from edgekd import registry
from edgekd.errors import ConfigError

similarity_preserving = registry.function("losses", "similarity_preserving")
check_shapes = registry.load("losses", "similarity_preserving").check_shapes


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 7), st.integers(0, 2**32))
def test_equals_the_formula(batch: int, seed: int) -> None:
    chance = np.random.default_rng(seed)
    student, teacher = chance.normal(size=(batch, 3, 2, 2)), chance.normal(size=(batch, 9))
    normal = []
    for feature in (student, teacher):
        gram = np.array([[np.vdot(one, other) for other in feature] for one in feature])
        normal.append(gram / np.linalg.norm(gram, axis=1, keepdims=True))
    expected = np.linalg.norm(normal[1] - normal[0], "fro") ** 2 / batch**2
    found = similarity_preserving(student_feature=torch.from_numpy(student), teacher_feature=torch.from_numpy(teacher))
    assert float(found) == pytest.approx(expected, rel=1e-8, abs=1e-12)


def test_rotation_and_scale_are_free() -> None:
    teacher = np.random.default_rng(0).normal(size=(5, 4))
    student = 3 * teacher @ ortho_group.rvs(4, random_state=0)
    given = {"student_feature": torch.from_numpy(student), "teacher_feature": torch.from_numpy(teacher)}
    assert float(similarity_preserving(**given)) == pytest.approx(0, abs=1e-20)


def test_other_similarities_are_not_free() -> None:
    alike, unlike = torch.ones(2, 3), torch.eye(2)
    # Rows (1, 1) / sqrt(2) against (1, 0).
    found = similarity_preserving(student_feature=alike, teacher_feature=unlike)
    assert float(found) == pytest.approx((2 - 2**0.5) / 2)


def test_features_without_values_are_refused() -> None:
    check_shapes(student_shape=(8,), teacher_shape=(4, 2, 2))
    with pytest.raises(ConfigError, match=r"^loss similarity_preserving: the student's layer gives \(\)"):
        check_shapes(student_shape=(), teacher_shape=(4,))
