"""The verdict in words: why, and the one next step."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgekd.records import Budget, Check, Release, Run, Status, Waiver
from edgekd.units import METRICS
from edgekd.verdict import Verdict, describe_budget, limit_text, metric_text, status_text, verdict_of

SIZE = Budget(metric="file_size", limit="1 kB")
WAIVER = Waiver(metric="file_size", owner="ann", reason="", expires="2027-01-01")


def _check(status: Status, budget: Budget = SIZE, **more: Any) -> Check:
    check = Check(
        budget=budget, model="student.static_wi8_ai8.tflite", target="pi", unit="B", limit=1.0, observed=2.0, low=2.0,
        high=2.0, status=status, reason=f"because of {status}",
    )  # fmt: skip
    return replace(check, **more)


def _verdict(*checks: Check, strict: bool = True) -> Verdict:
    release = Release(model_sha256s=(), checks=checks, strict=strict)
    return verdict_of(Run(name="run", folder=Path(), recipe="", release=release))


@pytest.mark.parametrize("metric", sorted(METRICS))
def test_what_failed_has_a_remedy_that_can_be_tried(metric: str) -> None:
    found = _verdict(_check("fail", Budget(metric=metric, limit="")))
    assert any(word in found.next_step for word in ("edgekd ", "[export", "smaller", "report"))
    assert "{" not in found.next_step
    assert "\n" not in found.next_step


def test_a_float_file_that_is_wrong_was_not_learnt_well() -> None:
    budget = Budget(metric="accuracy", limit="99 %")
    assert "epochs" in _verdict(_check("fail", budget, model="student.fp32.onnx")).next_step
    assert "[export.calibration]" in _verdict(_check("fail", budget)).next_step


def test_a_regression_names_what_to_undo() -> None:
    budget = Budget(metric="accuracy_drop", reference="baseline", limit="1 pt")
    found = _verdict(_check("fail", budget, reason="5 pt is above 1 pt; changed since: recipe: distill.epochs 40 → 2"))
    assert found.next_step == "undo or mend what changed: recipe: distill.epochs 40 → 2"


def test_what_is_not_proven_says_what_would_decide() -> None:
    assert _verdict(_check("pass"), _check("inconclusive")).next_step == "because of inconclusive"
    assert _verdict(_check("pass"), _check("unmeasured")).next_step == "because of unmeasured"


def test_lenient_says_that_it_is() -> None:
    why = "1 of 2 checks is not proven yet: file size at most 1 kB for student.static_wi8_ai8.tflite on pi."
    assert _verdict(_check("pass"), _check("inconclusive")).why == why
    lenient = _verdict(_check("pass"), _check("inconclusive"), strict=False)
    assert (lenient.status, lenient.why) == ("inconclusive", f"{why} That keeps no release back here (lenient).")
    assert "lenient" not in _verdict(_check("fail"), strict=False).why


def test_waived_checks_are_counted_apart() -> None:
    waived = _check("fail", waiver=WAIVER)
    assert status_text(waived) == "waived"
    assert _verdict(_check("pass"), waived).why == "All budgets hold (one check). 1 more is waived."
    assert _verdict(_check("pass"), waived, waived).why == "All budgets hold (one check). 2 more are waived."
    assert _verdict(waived).why == "Every check is waived, so nothing is proven."
    assert _verdict(_check("fail"), waived).why.startswith("The only check failed")


@pytest.mark.parametrize(
    ("budget", "words", "metric", "limit"),
    [
        (SIZE, "file size at most 1 kB", "file_size", "≤ 1 kB"),
        (Budget(metric="recall", part="owl", limit="90 %"), "recall of owl at least 90 %", "recall of owl", "≥ 90 %"),
        (
            Budget(metric="file_size_increase", reference="baseline", limit="2 %"),
            "file size increase against the last release at most 2 %", "file_size_increase", "≤ 2 %",
        ),
        (
            Budget(metric="accuracy - npu_share", bound="at least", limit="0"),
            "accuracy - npu_share at least 0", "accuracy - npu_share", "≥ 0",
        ),
        (Budget(metric="of_the_future", limit="3"), "of the future limit 3", "of_the_future", None),
    ],
)  # fmt: skip
def test_budgets_are_written_as_people_say_them(budget: Budget, words: str, metric: str, limit: str | None) -> None:
    assert describe_budget(budget) == words
    assert metric_text(budget) == metric
    if limit:
        assert limit_text(budget) == limit
