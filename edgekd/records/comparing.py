"""What a comparison of two files on one target finds."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import Literal

from edgekd.records.measuring import Conditions
from edgekd.records.names import Basis, Status

# Of the second file. `not_slower`: the same or faster, which of them is open.
Verdict = Literal["faster", "same", "not_slower", "slower", "inconclusive"]


@dataclass(frozen=True, kw_only=True)
class Turns:
    """What two files took in one process, in rounds of four turns: one has the outer two, the other the inner two.

    Attributes:
        first: Median of each turn's inferences in seconds, two a round.
        second: Likewise, in the same rounds.
        first_loaded: Whether the first file was loaded first and had the outer turns, or the second.
    """

    first: tuple[float, ...]
    second: tuple[float, ...]
    first_loaded: bool

    @property
    def ratio(self) -> float:
        """Latency of the second file over that of the first: the median over rounds, of which some are disturbed.

        >>> Turns(first=(1.0, 1.0, 1.0, 1.0), second=(2.0, 2.0, 4.0, 4.0), first_loaded=True).ratio
        3.0
        """
        rounds = range(0, len(self.first), 2)
        return statistics.median(
            math.sqrt(math.prod(self.second[at : at + 2]) / math.prod(self.first[at : at + 2])) for at in rounds
        )


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """How much longer one file takes than another on one target.

    Attributes:
        first: The file that the other is held against: its name, or its path where both have the same name.
        threshold: A share: differences up to it don't count.
        processes: What each process saw, in the order in which they ran.
        ratio: Latency of `second` over that of `first`, geometric mean over processes.
        low: Lower end of its interval, which holds at whatever number of processes one stops; `None`, as is `high`,
            where there are too few for one.
        needed: About how many processes give a verdict, these included; `None` where there is one, or where no number
            would.
        conditions: Of both files; of the first one only, where one process ran.
        wall_s: How long the comparison took.
        started_at: ISO 8601, UTC.
    """

    first: str
    second: str
    first_sha256: str
    second_sha256: str
    target: str
    threshold: float
    processes: tuple[Turns, ...]
    ratio: float
    low: float | None
    high: float | None
    confidence: float
    verdict: Verdict
    needed: int | None
    conditions: tuple[Conditions, ...]
    basis: Basis
    wall_s: float
    started_at: str

    @property
    def latencies_s(self) -> tuple[float, float]:
        """Median latency of both files, over the turns of all processes."""
        first = [seconds for turns in self.processes for seconds in turns.first]
        second = [seconds for turns in self.processes for seconds in turns.second]
        return statistics.median(first), statistics.median(second)

    @property
    def status(self) -> Status:
        """The verdict as that of a budget, by which the second file must not be slower than the threshold allows."""
        if self.verdict == "slower":
            return "fail"
        return "inconclusive" if self.verdict == "inconclusive" else "pass"
