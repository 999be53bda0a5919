"""What a comparison shows, in words."""

from __future__ import annotations

import math

from edgekd.records import Comparison

_TWICE = 2.0


def explain(comparison: Comparison) -> str:
    """Say how the second file stands to the first, what that means at the threshold, and what would tell more."""
    threshold = f"the threshold of {100 * comparison.threshold:g} %"
    text = f"{comparison.second} {_difference(comparison.ratio)} {comparison.first}{_interval(comparison)}: "
    meaning = {
        "slower": f"slower by more than {threshold}",
        "faster": f"faster by more than {threshold}",
        "same": f"the same within {threshold}",
        "not_slower": f"not slower by more than {threshold}, if not faster",
    }
    if comparison.verdict != "inconclusive":
        return text + meaning[comparison.verdict]
    if comparison.needed is None:
        return f"{text}inconclusive, so near to {threshold} that more processes will hardly tell"
    count = len(comparison.processes)
    more = max(comparison.needed - count, 1)
    seconds = math.ceil(comparison.wall_s / count * more)
    return (
        f"{text}inconclusive at {threshold}; needs about {more} more {'process' if more == 1 else 'processes'}, "
        f"{seconds} s: --time-limit {math.ceil(comparison.wall_s + 1.2 * seconds)}"
    )


def _interval(comparison: Comparison) -> str:
    if comparison.low is None or comparison.high is None:
        return ", by too few processes for an interval"
    low, high = (_percent(each) for each in (comparison.low, comparison.high))
    if comparison.ratio >= _TWICE:
        return f" ({comparison.low:.3g} to {comparison.high:.3g} times)"
    if comparison.low >= 1:
        return f" ({low} to {high} %)"
    if comparison.high <= 1:
        return f" ({high} to {low} %)"
    return f" ({low} % faster to {high} % slower)"


def _difference(ratio: float) -> str:
    if ratio >= _TWICE:
        return f"takes {ratio:.3g} times as long as"
    return f"is {_percent(ratio)} % {'slower' if ratio >= 1 else 'faster'} than"


def _percent(ratio: float) -> str:
    """How much more time, or less, in percent; with a digit that tells."""
    share = abs(100 * (ratio - 1))
    return f"{share:.1f}" if share >= 0.1 else f"{share:.2f}"
