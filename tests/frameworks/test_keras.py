"""What TensorFlow writes when it starts; files it opens are tested where they are used."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.slow  # TensorFlow takes seconds to start
def test_starting_tensorflow_writes_nothing() -> None:
    code = (
        "import os, sys; from edgekd.frameworks import keras\n"
        "keras.start_tensorflow(1, 'a test')\n"
        "with keras.without_noise(): os.write(2, b'kept\\n')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "kept\n")
