"""Raw samples, and under what conditions they were taken."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from edgekd.errors import MeasurementError
from edgekd.records.names import Basis, Format, Role

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """The state of the machine and the tools under which samples were taken.

    Attributes:
        temperature_before_c: Of the hottest zone, in degrees Celsius.
        temperature_during_c: The highest that was seen while inferences were timed.
        frequencies_during_hz: The lowest that were seen, one for each group of cores; nothing where it took no time.
        frequencies_after_hz: Right after the last inference, one for each group of cores that has its own.
        tainted: What makes times worth nothing, such as throttling; empty is nothing.
        cores: Numbers of those that the program was bound to, if it was.
        energy_source: What told the energy: `pmic`, `ina3221`, `rapl` or `battery`, each of which sees its own part.
        idle_w: Power by that source before anything ran, in W, which is not subtracted; `running_w`, while it ran.
        steady: Of latencies: whether warm-up went on until nothing changed any more, or until its time was up.
        source: What samples were read from that edgekd did not take; the target proved no file's hash then.
        length: Tokens of the texts that were fed, of a file that takes any number of them.
        clock_ratio: Of times by a target's own clock: its time over that of the machine that wrote the log.
    """

    host: str = ""
    cpu: str = ""
    arch: str = ""
    os: str = ""
    runtime: str = ""
    runtime_version: str = ""
    threads: int = 1
    governor: str | None = None
    throttled_before: str | None = None
    throttled_after: str | None = None
    load_before: float | None = None
    temperature_before_c: float | None = None
    temperature_during_c: float | None = None
    temperature_after_c: float | None = None
    frequencies_during_hz: tuple[int, ...] = ()
    frequencies_after_hz: tuple[int, ...] = ()
    tainted: str = ""
    delegate: str | None = None
    steady: bool | None = None
    batch: int = 1
    length: int | None = None
    cores: str | None = None
    source: str = ""
    clock_ratio: float | None = None
    energy_source: str | None = None
    idle_w: float | None = None
    running_w: float | None = None

    MUST_AGREE = (
        *("host", "cpu", "arch", "runtime", "runtime_version"),
        *("threads", "governor", "delegate", "batch", "length", "tainted", "cores", "source", "energy_source"),
    )


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """About a second of a long run.

    Attributes:
        start_s: Since the run began.
        samples: Some of its latencies, in s, evenly chosen in their order.
    """

    start_s: float
    samples: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """Raw samples of one metric of one model file on one target.

    Attributes:
        samples: In `unit`. Accuracy and parity hold one 0 or 1 per data sample, in the order of the
            split; exact facts such as a file's size hold one number.
        labels: Of metrics that no mean over samples gives: the true class of each sample (`auc`, `recall`), whether
            it is predicted right (`calibration_error`), or how many tokens or bytes a window has (`perplexity`,
            `bits_per_byte`).
        parts: Of what each number is, where they are of several things: kinds of `operators`, `severity/rule` of
            `lint`, tokens before those of a rate, a time or a memory of a language model; of `recall` the names of the
            classes, in order.
        warmup: Samples taken before the steady state, kept apart; of `sustained_latency` those of the start.
        course: Of `sustained_latency`, all of the run, second by second; of merged ones that of the first.
        started_at: ISO 8601, UTC.
    """

    model_sha256: str
    model: str
    format: Format
    precision: str
    role: Role
    target: str
    metric: str
    unit: str
    samples: tuple[float, ...]
    labels: tuple[float, ...] = ()
    parts: tuple[str, ...] = ()
    warmup: tuple[float, ...] = ()
    course: tuple[Stretch, ...] = ()
    conditions: Conditions = Conditions()
    basis: Basis = "measured"
    started_at: str = ""

    def __hash__(self) -> int:
        """Of what it is about: to hash its numbers, as often as it is looked up, takes longer than to read them."""
        return hash((self.model_sha256, self.target, self.metric, self.role, len(self.samples)))

    @cached_property
    def values(self) -> NDArray[np.float64]:
        """The samples as an array, made once."""
        return _array_of(self.samples)

    @cached_property
    def label_values(self) -> NDArray[np.float64]:
        """The labels as an array, made once."""
        return _array_of(self.labels)

    def merge(self, other: Measurement) -> Measurement:
        """Join the samples of two measurements of the same thing under the same conditions.

        Raises:
            MeasurementError: Something that matters differs; the error names it.
        """
        keys = ("model_sha256", "target", "metric", "unit", "basis")
        different = [key for key in keys if getattr(self, key) != getattr(other, key)]
        different += [
            f"conditions.{key}"
            for key in Conditions.MUST_AGREE
            if getattr(self.conditions, key) != getattr(other.conditions, key)
        ]
        if different:
            first = different[0].removeprefix("conditions.")
            mine, theirs = (
                getattr(each.conditions if different[0] != first else each, first) for each in (self, other)
            )
            raise MeasurementError(
                f"measurements differ in {', '.join(different)} ({mine!r} and {theirs!r})",
                next_step="measure both again under the same conditions",
            )
        parts = self.parts + other.parts if len(self.parts) == len(self.samples) else self.parts
        return replace(self, samples=self.samples + other.samples, warmup=self.warmup + other.warmup, parts=parts)


def _array_of(numbers: tuple[float, ...]) -> NDArray[np.float64]:
    import numpy as np  # a module that only describes data needs none

    values = np.array(numbers, dtype=np.float64)
    values.flags.writeable = False
    return values
