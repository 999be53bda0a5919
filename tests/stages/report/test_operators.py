"""Where the time of a file goes, operator by operator."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgekd.records import OperatorTime, Run
from edgekd.stages.report import report
from edgekd.stages.report.operators import SHOWN, profiles_of


def times(seconds: list[float], model: str = "m.onnx", target: str = "host") -> list[OperatorTime]:
    return [
        OperatorTime(
            model=model,
            model_sha256="",
            target=target,
            layer=f"l{i}",
            operator="Conv " if i % 2 else "Add",
            samples=(0.5 * each, 1.5 * each),
        )
        for i, each in enumerate(seconds)
    ]


def test_shares_are_of_all_and_the_slowest_come_first() -> None:
    seconds = np.random.default_rng(3).gamma(1.0, 1e-5, 30).tolist()
    (file,) = profiles_of(times(seconds))
    (profile,) = file.profiles
    assert profile.seconds == pytest.approx(sum(seconds))
    assert [line.seconds for line in profile.lines[:SHOWN]] == pytest.approx(sorted(seconds, reverse=True)[:SHOWN])
    assert sum(line.share for line in profile.lines) == pytest.approx(1)
    assert profile.lines[-1].operator == f"{30 - SHOWN} others"
    kinds = {"Add": sum(seconds[::2]), "Conv": sum(seconds[1::2])}
    kind, share = profile.most
    assert kind == max(kinds, key=kinds.__getitem__)
    assert share == pytest.approx(max(kinds.values()) / sum(seconds))


def test_runtimes_that_tell_only_zeros_are_borne() -> None:
    (file,) = profiles_of(times([0.0, 0.0]))
    assert [line.share for line in file.profiles[0].lines] == [0.0, 0.0]
    assert profiles_of([]) == ()


def test_every_file_and_target_has_its_lines(fleet: Callable[..., Run], tmp_path: Path) -> None:
    run = fleet(files=3, targets=2)
    html = report(run, folder=tmp_path).html_path.read_text(encoding="utf-8")
    section = html[html.index('<section aria-labelledby="operators">') :].partition("</section>")[0]
    assert section.count("<details") == 3
    assert section.count("<tbody>") == 6
    assert section.count('<svg class="share"') == 6 * (SHOWN + 1)
    shares = [float(each) for each in re.findall(r'<rect width="([\d.]+)%"', section)]
    assert all(0 < each <= 100 for each in shares)
    assert "Conv takes" in section
