"""Many budgets at once: a good model must not fail because one of a hundred looks happened to be unlucky."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from edgekd.stages.gate.judging import Judgement


def keep_error_rate(judgements: Sequence[Judgement], confidence: float) -> list[Judgement]:
    """Take back those failures that chance alone would bring among so many checks.

    Holm, Scandinavian Journal of Statistics 6:65-70 (1979): of m checks that rest on samples, one more fails while its
    limit lies outside of the interval at the error rate a / (m - failed so far). All checks together then fail a file
    that keeps every limit with a probability of at most a = (1 - confidence) / 2, however they depend on each other.
    A release passes only where every check does, so that passes need no such care (Berger, Technometrics 24:295, 1982).

    Args:
        judgements: Each by its own interval.
        confidence: Of these two-sided intervals.

    Returns:
        The same, in the same order; what fails no longer is inconclusive.
    """
    sampled = {at: seen for at, each in enumerate(judgements) if (seen := each.observation) and seen.is_sampled}
    left = [at for at in sampled if judgements[at].check.status == "fail"]
    failed = 0
    while left:
        surely = 1 - (1 - confidence) / (len(sampled) - failed)
        kept = [at for at in left if sampled[at].status_by(replace(sampled[at].rule, confidence=surely)) != "fail"]
        if len(kept) == len(left):
            break
        failed, left = failed + len(left) - len(kept), kept
    found = list(judgements)
    for at in left:
        check = found[at].check
        words = f"which one of {len(sampled)} checks may be by chance; more {sampled[at].seen.sampled} would decide"
        found[at] = replace(found[at], check=replace(check, status="inconclusive", reason=f"{check.reason}, {words}"))
    return found
