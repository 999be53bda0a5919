"""Transformers are imported for what is needed of them, and say nothing while they are."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytest.importorskip("transformers")
BUILD = """
import sys
from edgekd.networks import bert
from edgekd.records import Tokens
bert.build(classes=2, input_shape=(4,), tokens=Tokens(vocabulary=9, pad=0), layers=1, hidden=4, heads=1)
print(*(name for name in ("tensorflow", "jax", "flax") if name in sys.modules))
"""


def test_a_network_of_theirs_brings_no_other_framework_and_no_chatter() -> None:
    chosen = {key: value for key, value in os.environ.items() if key not in ("USE_TF", "USE_FLAX")}
    finished = subprocess.run([sys.executable, "-c", BUILD], capture_output=True, text=True, check=True, env=chosen)
    assert finished.stderr == ""
    assert finished.stdout.strip() == ""
