"""Many checks at once: Holm's method from its definition, and how often a good model fails."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from edgekd.records import Budget, Measurement
from edgekd.stages.gate import gate

N = 200


def _answers(wrong: int, file: str) -> Measurement:
    return Measurement(
        model_sha256=file, model=file, format="tflite", precision="fp32", role="student", target="host",
        metric="accuracy", unit="1", samples=(0.0,) * wrong + (1.0,) * (N - wrong),
    )  # fmt: skip


def _holm(ps: list[float], rate: float) -> list[bool]:
    """Holm (1979), as it is written: from the smallest on, until one is too large."""
    failed = [False] * len(ps)
    for done, at in enumerate(sorted(range(len(ps)), key=lambda each: ps[each])):
        if ps[at] > rate / (len(ps) - done):
            break
        failed[at] = True
    return failed


@given(st.lists(st.integers(10, 60), min_size=1, max_size=12))
def test_what_fails_is_what_holm_s_method_rejects(wrong: list[int]) -> None:
    measured = [_answers(count, f"{number:02}") for number, count in enumerate(wrong)]
    checks = gate(measured, budgets=[Budget(metric="accuracy", limit="90 %")]).checks
    # The chance of so few right answers of a file that keeps the limit: an exact test, as the interval is.
    ps = [float(stats.binom.cdf(N - count, N, 0.9)) for count in wrong]
    assert [check.status == "fail" for check in checks] == _holm(ps, 0.025)
    for check, p in zip(checks, ps, strict=True):
        if check.status == "inconclusive" and p <= 0.025:
            assert f"one of {len(wrong)} checks may be by chance" in check.reason


def test_exact_facts_are_no_part_of_it() -> None:
    facts = [replace(_answers(0, str(n)), metric="file_size", unit="B", samples=(1e6,)) for n in range(100)]
    one = _answers(34, "x")
    budgets = [Budget(metric="file_size", limit="1 kB"), Budget(metric="accuracy", limit="90 %")]
    checks = gate([*facts, one], budgets=budgets).checks
    assert {check.status for check in checks} == {"fail"}
    crowd = [_answers(10, f"f{n}") for n in range(99)]
    last = next(each for each in gate([one, *crowd], budgets=budgets[1:]).checks if each.model == "x")
    assert last.status == "inconclusive"


@pytest.mark.slow
def test_a_hundred_checks_of_a_good_model_seldom_fail() -> None:
    """Each file is exactly as good as its limit: one by one, nearly every gate would have one that fails."""
    rng = np.random.default_rng(0)
    refused = bare = 0
    for _ in range(300):
        wrong = rng.binomial(N, 0.1, 100)
        measured = [_answers(int(count), str(number)) for number, count in enumerate(wrong)]
        checks = gate(measured, budgets=[Budget(metric="accuracy", limit="90 %")]).checks
        refused += any(check.status == "fail" for check in checks)
        bare += any(stats.binom.cdf(N - count, N, 0.9) <= 0.025 for count in wrong)
    assert refused <= 16  # 2.5 % of 300, and as much as chance adds once in a thousand times
    assert bare > 200
