"""What of a target's state makes times taken there worth nothing, and how long to wait until it is gone."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

# Of a Raspberry Pi's `vcgencmd get_throttled`; 16 bits further up they tell that it happened since it was started.
_PI_FLAGS = ("under-voltage", "frequency capped", "throttled", "soft temperature limit")
_UNDER_VOLTAGE = 1
_SINCE_START = 16
_LOOK_EVERY_S = 5.0
_COOL_DOWN_S = 120.0


def find_taint(
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    *,
    during: Mapping[str, Any] | None = None,
    may_heat: bool = False,
) -> str:
    """Say what was wrong with a target before, while or after something ran; empty is nothing.

    Args:
        before: State, as the runner's event `conditions` has it; what it lacks the target does not tell.
        after: The same, later.
        during: The worst of what was seen in between, if anything was looked at: heat and frequency limits.
        may_heat: What ran shall show how a target slows down when it gets hot: then only a hot start is wrong.

    >>> find_taint({"throttled": "0x50000"}, {"throttled": "0x50005"})
    'under-voltage, throttled'
    >>> find_taint({"governor": "performance"}, {"governor": "powersave"})
    'governor changed'
    >>> find_taint({"too_hot": []}, {"too_hot": []}, during={"too_hot": ["cpu"]})
    'cpu too hot'
    >>> find_taint({"too_hot": []}, {"too_hot": ["cpu"], "throttled": "0x50005"}, may_heat=True)
    'under-voltage'
    """
    flags = _flags(before) | _flags(after) | ((_flags(after) & ~_flags(before)) >> _SINCE_START)
    if may_heat:
        flags &= _UNDER_VOLTAGE | _flags(before)
    found = [name for bit, name in enumerate(_PI_FLAGS) if flags >> bit & 1]
    if before.get("governor") != after.get("governor"):
        found.append("governor changed")
    later = [] if may_heat else [during or {}, after]
    limits = [each.get("frequency_limits_hz", before.get("frequency_limits_hz")) for each in later]
    if any(each != before.get("frequency_limits_hz") for each in limits):
        found.append("frequency limit changed")
    hot = {zone for each in (before, *later) for zone in each.get("too_hot", ())}
    found += [f"{zone} too hot" for zone in sorted(hot)]
    return ", ".join(found)


def _flags(state: Mapping[str, Any]) -> int:
    return int(state.get("throttled") or "0", 16)


def cool_down(
    look: Callable[[], Mapping[str, Any]],
    *,
    limit_s: float = _COOL_DOWN_S,
    sleep: Callable[[float], object] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> bool:
    """Wait until a target's state is right, or `limit_s` are over; says whether it is.

    >>> states = iter([{"throttled": "0x4"}, {"throttled": "0x0"}])
    >>> cool_down(lambda: next(states), sleep=lambda seconds: None)
    True
    """
    deadline = clock() + limit_s
    while True:
        state = look()
        if not find_taint(state, state):
            return True
        if clock() + _LOOK_EVERY_S > deadline:
            return False
        sleep(_LOOK_EVERY_S)
