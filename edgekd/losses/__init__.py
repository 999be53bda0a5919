"""Losses: `edgekd.losses.kl(temperature=4.0)` makes a term for a recipe or for `edgekd.distill`.

Each file has one function `loss(student, teacher, labels, ...)` on logits that returns a scalar.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType

from edgekd import registry
from edgekd.records import LossTerm


class _Losses(ModuleType):
    """This package, whose names are makers of terms although its files have the same names."""

    def __setattr__(self, name: str, value: object) -> None:
        # Python binds an imported file to its package's attribute; that would hide the maker.
        if not isinstance(value, ModuleType):
            super().__setattr__(name, value)


def __getattr__(name: str) -> Callable[..., LossTerm]:
    if name.startswith("_") or name not in registry.names("losses"):
        raise AttributeError(f"no loss '{name}'")

    def term(*, weight: float = 1.0, **options: object) -> LossTerm:
        return LossTerm(name=name, weight=weight, options=options)

    return term


sys.modules[__name__].__class__ = _Losses
