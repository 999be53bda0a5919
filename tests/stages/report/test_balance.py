"""Shares of loss terms, against means of what the epochs recorded."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from edgekd.records import EpochRecord, Run, TermShare
from edgekd.stages.report.balance import balance_chart, balances


def epoch(number: int, *terms: TermShare) -> EpochRecord:
    return EpochRecord(
        epoch=number, learning_rate=0.1, train_loss=1.0, validation_loss=1.0, validation_score=0.5, terms=terms
    )


def share(name: str, gradient: float, *, weight: float = 1.0, loss: float = 0.5) -> TermShare:
    return TermShare(name=name, weight=weight, loss=loss, gradient=gradient)


def test_shares_are_means_over_epochs_and_seeds(distilled: Callable[[], Run]) -> None:
    histories = distilled().histories
    found = {(each.network, each.term): each for each in balances(histories)}
    assert {network for network, _ in found} == {"student", "assistant-0"}
    for position, name in enumerate(("kl", "cross_entropy", "hint")):
        terms = [record.terms[position] for seed in range(3) for record in histories[f"student-seed-{seed}"]]
        each = found["student", name]
        assert each.gradient == pytest.approx(np.mean([term.gradient for term in terms]), rel=1e-12)
        assert each.loss == pytest.approx(np.mean([term.loss for term in terms]), rel=1e-12)
        assert each.lowest == min(term.gradient for term in terms)
        assert each.highest == max(term.gradient for term in terms)


def test_a_term_below_one_percent_is_warned_of(distilled: Callable[[], Run]) -> None:
    warned = {(each.network, each.term) for each in balances(distilled().histories) if each.warning}
    assert warned == {("student", "hint"), ("assistant-0", "hint")}
    (low,) = [
        each for each in balances({"student": [epoch(0, share("kl", 0.991), share("hint", 0.009))]}) if each.warning
    ]
    assert low.warning.startswith("hint has 0.9 % of the gradient of student, below 1 %")
    assert not [each for each in balances({"s": [epoch(0, share("kl", 0.99), share("hint", 0.01))]}) if each.warning]


def test_epochs_in_which_a_term_is_switched_off_do_not_count() -> None:
    records = [
        epoch(0, share("kl", 1.0), share("hint", 0.0, weight=0.0)),
        epoch(1, share("kl", 0.6), share("hint", 0.4, weight=0.5)),
        epoch(2, share("kl", 0.8), share("hint", 0.2, weight=0.25)),
    ]
    kl, hint = balances({"student": records})
    assert [kl.gradient, hint.gradient] == pytest.approx([0.8, 0.3])
    assert hint.weight == (0.25, 0.5)
    assert not hint.warning
    # A term that never works is meant so.
    assert [each.term for each in balances({"student": records[:1]})] == ["kl"]


def test_a_loss_that_is_there_twice_is_two_terms() -> None:
    found = balances({"student": [epoch(0, share("kl", 0.7), share("kl", 0.2), share("hint", 0.1))]})
    assert [(each.term, each.gradient) for each in found] == [("kl (1)", 0.7), ("kl (2)", 0.2), ("hint", 0.1)]


def test_gradients_that_are_no_numbers_are_left_out() -> None:
    records = [epoch(0, share("kl", math.nan), share("hint", 0.4)), epoch(1, share("kl", 0.6), share("hint", 0.2))]
    assert [(each.term, each.gradient) for each in balances({"s": records})] == [
        ("kl", 0.6),
        ("hint", pytest.approx(0.3)),
    ]
    chart = balance_chart({"s": records})
    assert chart is not None
    values = chart.options[0][1]["layer"][1]["data"]["values"]
    assert [(each["term"], each["epoch"], each["value"]) for each in values] == [
        ("kl", 1, 60.0),
        ("hint", 0, 40.0),
        ("hint", 1, 20.0),
    ]


def test_the_chart_begins_with_the_student(distilled: Callable[[], Run]) -> None:
    chart = balance_chart(distilled().histories)
    assert chart is not None
    assert [label for label, _ in chart.options] == [*(f"student-seed-{seed}" for seed in range(3)), "assistant-0"]
    assert balance_chart({"control": [epoch(0)]}) is None
