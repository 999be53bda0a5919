"""`edgekd.losses.NAME(...)` makes terms, whatever was imported before."""

from __future__ import annotations

import subprocess
import sys

import pytest

import edgekd
from edgekd.records import LossTerm


def test_names_make_terms() -> None:
    assert edgekd.losses.kl(temperature=3.0) == LossTerm(name="kl", weight=1.0, options={"temperature": 3.0})
    assert edgekd.losses.cross_entropy(weight=0.1) == LossTerm(name="cross_entropy", weight=0.1, options={})


def test_names_still_make_terms_after_the_files_of_those_names_were_imported() -> None:
    # Python binds a file to its package on the first import only: a fresh process.
    code = (
        "import importlib, edgekd.losses\n"
        "for name in ('kl', 'cross_entropy'):\n"
        "    module = importlib.import_module(f'edgekd.losses.{name}')\n"
        "    print(module.loss.__name__, getattr(edgekd.losses, name)(weight=0.5).name)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["loss", "kl", "loss", "cross_entropy"], done.stderr


def test_making_a_term_needs_no_torch() -> None:
    code = "import sys; sys.modules['torch'] = None; import edgekd; print(edgekd.losses.kl(temperature=3.0).name)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "kl", done.stderr


def test_what_is_no_loss_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="no loss 'kll'"):
        edgekd.losses.kll()
    assert not hasattr(edgekd.losses, "_private")
