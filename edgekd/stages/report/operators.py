"""Which operators of a file take how long, the slowest first."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean

from edgekd.records import OperatorTime

SHOWN = 8  # of each file and target; the others are one line,
LEAST = 0.01  # as are those that take less than this share


@dataclass(frozen=True, kw_only=True)
class OperatorLine:
    """One operator, or all that are not shown.

    Attributes:
        layer: Its name in the graph; empty for the others together.
        seconds: Mean over inferences: runtimes that tell whole microseconds tell 0 of most.
        share: Of the time of all operators.
    """

    operator: str
    layer: str
    seconds: float
    share: float


@dataclass(frozen=True, kw_only=True)
class Profile:
    """The operators of one file on one target.

    Attributes:
        seconds: Of all together, what timing them takes included: more than an inference takes.
        operators: How many there are.
        most: The kind of operator that takes the most, with its share.
    """

    target: str
    seconds: float
    operators: int
    most: tuple[str, float]
    lines: tuple[OperatorLine, ...]


@dataclass(frozen=True, kw_only=True)
class FileProfiles:
    """What was told of one file, target by target."""

    model: str
    profiles: tuple[Profile, ...]

    @property
    def summary(self) -> str:
        """Where its time goes on the first target."""
        first = self.profiles[0]
        kind, share = first.most
        return f"{kind} takes {100 * share:.0f} % on {first.target}"


def profiles_of(operators: Iterable[OperatorTime]) -> tuple[FileProfiles, ...]:
    """Sort operators by their time, for each file and target.

    >>> times = [OperatorTime(model="m.onnx", model_sha256="", target="host", layer=layer, operator="Conv",
    ...                       samples=samples) for layer, samples in (("a", (1e-6, 3e-6)), ("b", (6e-6,)))]
    >>> [(line.layer, line.share) for line in profiles_of(times)[0].profiles[0].lines]
    [('b', 0.75), ('a', 0.25)]
    """
    found: dict[str, dict[str, list[OperatorTime]]] = {}
    for each in operators:
        found.setdefault(each.model, {}).setdefault(each.target, []).append(each)
    return tuple(
        FileProfiles(model=model, profiles=tuple(_profile(target, times) for target, times in targets.items()))
        for model, targets in found.items()
    )


def _profile(target: str, times: list[OperatorTime]) -> Profile:
    means = sorted(((fmean(each.samples or (0.0,)), each) for each in times), key=lambda pair: -pair[0])
    total = sum(seconds for seconds, _ in means)
    kinds: dict[str, float] = {}
    for seconds, each in means:
        kinds[each.operator.strip()] = kinds.get(each.operator.strip(), 0.0) + seconds
    most = max(kinds, key=kinds.__getitem__)
    shown = [pair for pair in means[:SHOWN] if pair[0] >= LEAST * total]
    lines = [
        OperatorLine(operator=each.operator.strip(), layer=each.layer, seconds=seconds, share=seconds / (total or 1.0))
        for seconds, each in shown
    ]
    if rest := means[len(shown) :]:
        seconds = sum(each for each, _ in rest)
        others = "1 other" if len(rest) == 1 else f"{len(rest)} others"
        lines.append(OperatorLine(operator=others, layer="", seconds=seconds, share=seconds / (total or 1.0)))
    return Profile(
        target=target,
        seconds=total,
        operators=len(times),
        most=(most, kinds[most] / (total or 1.0)),
        lines=tuple(lines),
    )
