"""Energy of an inference on a phone that is not plugged in, by its battery's gauge while benchmark_model runs."""

from __future__ import annotations

import re
import statistics
from collections.abc import Sequence
from typing import Any

from edgekd.runtimes._benchmark_log import read_log

SOURCE = "battery"
_SUPPLY = "/sys/class/power_supply/battery"
# A section of what is looked at before anything runs.
GAUGE = f"s gauge cat {_SUPPLY}/current_now {_SUPPLY}/voltage_now"
EVERY_S, IDLE_READINGS, PARTS = 0.25, 20, 4
# The program in the background, since the gauge is read beside it; words of other programs don't begin like these.
SCRIPT = rf"""
mask=$1; shift
[ -z "$mask" ] || taskset "$mask" true 2>/dev/null || mask=
gauge() {{ echo "@gauge $(cat {_SUPPLY}/current_now) $(cat {_SUPPLY}/voltage_now)"; sleep {EVERY_S}; }}
n=0; while [ $n -lt {IDLE_READINGS} ]; do gauge; n=$((n + 1)); done
n=0
while [ $n -lt {PARTS} ]; do
  echo @part
  rm -f ended
  if [ -n "$mask" ]; then (taskset "$mask" "$@"; echo $? >ended) >log 2>&1 & else ("$@"; echo $? >ended) >log 2>&1 & fi
  while [ ! -s ended ]; do gauge; done
  cat log; echo; [ "$(cat ended)" = 0 ] || break
  n=$((n + 1))
done
"""
# Phones give microamperes, as Linux asks them to, or milliamperes; no phone runs on ten of the latter.
_MILLIAMPERES_BELOW = 10_000


def find_source(answer: str, plugged: object) -> str | None:
    r"""Name the source, if there is one: a gauge that can be read, of a phone that is not charged meanwhile.

    >>> find_source("-321000\n4063000", "no"), find_source("-321000\n4063000", "USB"), find_source("", "no")
    ('battery', None, None)
    """
    return SOURCE if plugged == "no" and re.fullmatch(r"\s*-?[1-9]\d*\s+[1-9]\d*\s*", answer) else None


def read_energy(said: str) -> dict[str, Any] | None:
    """Make the runner's event of what `SCRIPT` printed; nothing where a process failed or the gauge did.

    Energy of a process is the mean power while it ran, loading and all, times what its inferences took.
    """
    idle, *parts = said.split("@part\n")
    rested_w = _watts(idle)
    found = []
    for part in parts:
        watts, runs = _watts(part), read_log(re.sub(r"^@gauge.*\n", "", part, flags=re.MULTILINE)).runs
        if not watts or runs is None or runs.mean is None:
            return None
        seconds = runs.count * runs.mean / 1e9
        found.append({"s": seconds, "runs": runs.count, "j": statistics.fmean(watts) * seconds})
    if not rested_w or len(found) < PARTS:
        return None
    idle_s = EVERY_S * len(rested_w)
    resting = {"s": idle_s, "runs": 0, "j": statistics.fmean(rested_w) * idle_s}
    return {"event": "energy", "source": SOURCE, "idle": [resting], "warmup": found[:1], "parts": found[1:]}


def _watts(text: str) -> Sequence[float]:
    readings = [(abs(int(a)), int(v)) for a, v in re.findall(r"^@gauge (-?\d+) (\d+)$", text, re.MULTILINE)]
    return [a * (1e-3 if a < _MILLIAMPERES_BELOW else 1e-6) * v * 1e-6 for a, v in readings]
