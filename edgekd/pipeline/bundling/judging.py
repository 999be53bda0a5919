"""Gives the verdict on a bundled run once more, and holds it against the one that is bundled."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from edgekd.pipeline.bundling.claims import claim
from edgekd.pipeline.bundling.evidence import Evidence
from edgekd.pipeline.folder import OVERRIDES, RECIPE, open_gate_spec
from edgekd.pipeline.gating import judge
from edgekd.records import Check, Claim, Release, Run

# Between machines, the last bits of what SciPy computes differ.
_TOLERANCE = 1e-6


def judge_again(evidence: Evidence, release: Release, read: Callable[[str], bytes]) -> Iterator[Claim]:
    """Hold the bundled recipe's budgets against the bundled measurements.

    What was held against an earlier release can't be, since that is not in the bundle.

    Raises:
        ConfigError: The recipe's budgets or waivers make no sense.
    """
    again = _judge(evidence, release, read)
    others = sum(_is_against_baseline(check) for check in release.checks)
    strange = {*release.evidence} - {*again.evidence}
    yield claim(
        "evidence",
        [f"the verdict rests on {len(strange)} measurements that are not here"] if strange and not others else [],
        "the measurements that the verdict rests on are here"
        + (f", but for those of {release.baseline or 'the last release'}" if strange else ""),
    )
    said, true = ([check for check in each.checks if not _is_against_baseline(check)] for each in (release, again))
    wrong = [
        f"{one.budget.metric} of {one.model or 'no file'} "
        + (f"is {two.status}, not {one.status}" if one.status != two.status else "has other numbers")
        for one, two in zip(said, true, strict=False)
        if not _is_same(one, two)
    ]
    if len(said) != len(true):
        wrong.append(f"there are {len(true)} checks, not {len(said)}")
    detail = f"{release.status}, and the gate says so again of {len(true)} checks"
    if others:
        detail += f"; {others} against {release.baseline or 'the last release'} can't be repeated"
    yield claim("verdict", wrong, detail)
    if waived := [check for check in release.checks if check.waiver]:
        yield claim("waivers", list(_expired(waived)), f"{len(waived)} checks are waived, still")


def _judge(evidence: Evidence, release: Release, read: Callable[[str], bytes]) -> Release:
    with tempfile.TemporaryDirectory(prefix="edgekd-") as folder:
        for name in (RECIPE, OVERRIDES):
            (Path(folder) / name).write_bytes(read(name))
        spec = open_gate_spec(Path(folder))
    run = Run(name="", folder=Path(), recipe=read(RECIPE).decode(), measurements=tuple(evidence.measurements))
    # Waivers held then, and clocks that were ahead still are.
    now, times = datetime.now(UTC), evidence.measured_between
    return judge(run, spec, strict=release.strict, now=min(now, datetime.fromisoformat(times[1])) if times else now)


def _expired(waived: list[Check]) -> Iterator[str]:
    today = datetime.now(UTC).date().isoformat()
    for waiver in dict.fromkeys(check.waiver for check in waived):
        if waiver and waiver.expires < today:
            yield f"{waiver.owner}'s waiver of {waiver.metric} expired on {waiver.expires}"


def _is_against_baseline(check: Check) -> bool:
    return check.budget.reference == "baseline"


def _is_same(one: Check, two: Check) -> bool:
    words = [(each.budget, each.model, each.target, each.unit, each.status, each.waiver) for each in (one, two)]
    numbers = [(each.limit, each.observed, each.low, each.high) for each in (one, two)]
    return words[0] == words[1] and all(map(_is_close, *numbers))


def _is_close(one: float | None, two: float | None) -> bool:
    if one is None or two is None:
        return one is two
    return math.isclose(one, two, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE**2)
