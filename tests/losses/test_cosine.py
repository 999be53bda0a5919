"""Angles between hidden states against NumPy, and against the loss that DistilBERT's authors call."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from edgekd import registry
from edgekd.errors import ConfigError

cosine = registry.function("losses", "cosine")
build_projector = registry.load("losses", "cosine").build_projector


def test_equals_the_formula_and_leaves_padding_out() -> None:
    chance = np.random.default_rng(0)
    student, teacher = chance.normal(size=(3, 5, 8)), chance.normal(size=(3, 5, 8))
    lengths = [5, 2, 4]
    each = []
    for b, length in enumerate(lengths):
        rows = [
            1 - student[b, t] @ teacher[b, t] / np.linalg.norm(student[b, t]) / np.linalg.norm(teacher[b, t])
            for t in range(length)
        ]
        each.append(np.mean(rows))
    found = cosine(
        student_feature=torch.from_numpy(student),
        teacher_feature=torch.from_numpy(teacher),
        projector=nn.Identity(),
        mask=torch.arange(5) < torch.tensor(lengths)[:, None],
    )
    assert float(found) == pytest.approx(np.mean(each), rel=1e-12)


def test_without_padding_it_is_torch_s_cosine_embedding_loss() -> None:
    student, teacher = torch.randn(2, 4, 6, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    rows = student.reshape(-1, 8), teacher.reshape(-1, 8), torch.ones(24, dtype=torch.float64)
    found = cosine(student_feature=student, teacher_feature=teacher, projector=nn.Identity())
    torch.testing.assert_close(found, functional.cosine_embedding_loss(*rows))


def test_length_is_free_and_a_narrower_student_is_projected() -> None:
    teacher = torch.randn(2, 8, dtype=torch.float64)
    assert float(cosine(student_feature=3 * teacher, teacher_feature=teacher, projector=nn.Identity())) < 1e-12
    projector = build_projector(student_shape=(6, 4), teacher_shape=(6, 8))
    assert projector(torch.zeros(2, 6, 4)).shape == (2, 6, 8)


@pytest.mark.parametrize(("student", "teacher"), [((5, 8), (6, 8)), ((8,), (5, 8)), ((4, 2, 2), (4, 2, 2))])
def test_shapes_that_cannot_match_are_refused(student: tuple[int, ...], teacher: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match=r"loss cosine: .*two vectors, or two sequences of equal length"):
        build_projector(student_shape=student, teacher_shape=teacher)
