"""A verdict is given again: waivers hold until their day, and last bits are no lie."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from edgekd import pipeline
from edgekd.errors import StoreError
from edgekd.pipeline.bundling import judging
from tests.finished import make_run

WAIVER = """
[[waivers]]
metric = "file_size"
owner = "ana"
reason = "the old board"
expires = "{day}"
"""


def test_a_waiver_is_named_and_holds_until_its_last_day(tmp_path: Path) -> None:
    more = WAIVER.format(day="9999-12-31")
    contents = pipeline.collect(make_run(tmp_path / "run", limit="10 B", more=more))
    found = pipeline.verify_bundle(pipeline.write_bundle(contents, tmp_path / "x.tar").path)
    assert found.is_right
    assert found.release is not None
    assert found.release.status == "pass"
    (claim,) = [claim for claim in found.claims if claim.name == "waivers"]
    assert claim.detail == "1 checks are waived, still"


def test_a_waiver_that_has_expired_since_is_no_release(tmp_path: Path) -> None:
    more = WAIVER.format(day="2026-03-02")
    now = datetime(2026, 3, 1, 13, tzinfo=UTC)
    contents = pipeline.collect(make_run(tmp_path / "run", limit="10 B", more=more, now=now))
    assert contents.release is not None
    assert contents.release.status == "pass"
    with pytest.raises(StoreError, match=r"x.tar: waivers: ana's waiver of file_size expired on 2026-03-02"):
        pipeline.write_bundle(contents, tmp_path / "x.tar")


def test_the_last_bits_of_another_machine_are_no_lie() -> None:
    assert judging._is_close(0.1 + 0.2, 0.3)
    assert judging._is_close(None, None)
    assert not judging._is_close(None, 0.0)
    assert not judging._is_close(0.3, 0.30001)
