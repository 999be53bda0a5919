"""JSON of unknown origin."""

from __future__ import annotations

import gc
import subprocess
import sys

import pytest

from edgekd.errors import StoreError
from edgekd.parsing import parse_json


def test_what_is_wrong_is_said_with_its_key() -> None:
    with pytest.raises(StoreError, match=r"here: not what edgekd wrote: 1: Input should be a valid number"):
        parse_json(b'[1, "x"]', list[float], "here")
    assert gc.isenabled()


@pytest.mark.skipif(sys.platform != "linux", reason="limits memory as Linux does")
def test_megabytes_of_wrong_items_take_no_gigabytes() -> None:
    code = """
import resource
from edgekd.parsing import parse_json
from edgekd.errors import StoreError
from edgekd.records import Measurement
resource.setrlimit(resource.RLIMIT_AS, (2**30, 2**30))
try:
    parse_json(b"[" + b"1," * 2**22 + b"1]", list[Measurement], "here")
except StoreError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.startswith("here: not what edgekd wrote: 0: "), done.stderr
