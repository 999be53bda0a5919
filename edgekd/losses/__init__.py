"""Losses: `edgekd.losses.kl(temperature=4.0)` makes a term for a recipe or for `edgekd.distill`.

Each file has one function `loss(*, ...)` that returns a scalar, and is passed those of these inputs that it names:
`student` and `teacher` (B, C) logits or outputs, `labels`, `indices` (B,) of samples in the training split,
`student_feature` and `teacher_feature` (B, ...) of the modules that the term names, `mask` (B, T), false where a
sequence of tokens is filled up and `None` where features are no such sequences, and `projector`, which is what the
file's `build_projector` made. A feature loss that needs no projector has `check_shapes` instead. All else are options.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType

from edgekd import registry
from edgekd.records import LossTerm, Schedule


class _Losses(ModuleType):
    """This package, whose names are makers of terms although its files have the same names."""

    def __setattr__(self, name: str, value: object) -> None:
        # Python binds an imported file to its package's attribute; that would hide the maker.
        if not isinstance(value, ModuleType):
            super().__setattr__(name, value)


def __getattr__(name: str) -> Callable[..., LossTerm]:
    if name.startswith("_") or name not in registry.names("losses"):
        raise AttributeError(f"no loss '{name}'")

    def term(
        *,
        weight: float | Schedule = 1.0,
        student_layer: str | None = None,
        teacher_layer: str | None = None,
        **options: object,
    ) -> LossTerm:
        return LossTerm(
            name=name, weight=weight, student_layer=student_layer, teacher_layer=teacher_layer, options=options
        )

    return term


sys.modules[__name__].__class__ = _Losses
