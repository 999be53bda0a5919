"""What learning with the rounding of a precision was worth: the student with it against calibration alone."""

from __future__ import annotations

from dataclasses import dataclass

from edgekd.records import Measurement, QuantizationOutcome, Run
from edgekd.stages.report.quality import label_of, lower_is_better, points_text, score_text
from edgekd.stages.report.summary import Figure, gain_between, score_of


@dataclass(frozen=True, kw_only=True)
class Rounding:
    """What the rounded student scores, in torch.

    Attributes:
        outcome: On validation data, by which it was kept or not.
        calibrated: Test score by calibration alone; `None` where it was not measured.
        trained: Test score with the trained weights; `None` where they were not kept.
        gain: How much better the trained ones are on the test split; above 0 is better, for errors too.
        samples: Of the test split.
    """

    outcome: QuantizationOutcome
    calibrated: float | None = None
    trained: float | None = None
    gain: Figure | None = None
    samples: int = 0


def rounding_of(run: Run) -> Rounding | None:
    """Compare the student that learned with rounding with the one that was calibrated only.

    >>> from pathlib import Path
    >>> rounding_of(Run(name="empty", folder=Path(), recipe=""))
    """
    outcome = run.quantization
    if outcome is None:
        return None
    measured: dict[str, Measurement] = {
        each.model: each
        for each in run.measurements
        if each.role == "simulated" and each.metric == outcome.metric and each.samples
    }
    calibrated, trained = measured.get("student-calibrated"), measured.get("student-quantized")
    return Rounding(
        outcome=outcome,
        calibrated=score_of(calibrated) if calibrated else None,
        trained=score_of(trained) if trained else None,
        gain=gain_between([trained], [calibrated]) if calibrated and trained else None,
        samples=len(calibrated.samples) if calibrated else 0,
    )


def rounding_lines(found: Rounding) -> tuple[str, ...]:
    """Say what learning with rounding was worth, and what files are made of.

    >>> outcome = QuantizationOutcome(precision="static_wi8_ai8", metric="accuracy", float_score=0.98,
    ...                               calibrated_score=0.97, trained_score=0.96, kept=False)
    >>> print(*rounding_lines(Rounding(outcome=outcome)))
    learning with the rounding of static_wi8_ai8 did not help: validation accuracy 96.00 %, by calibration alone 97.00 %
    """
    outcome = found.outcome
    metric, name = outcome.metric, f"learning with the rounding of {outcome.precision}"
    validation = (
        f"validation {label_of(metric)} {score_text(outcome.trained_score, metric)}, by calibration alone "
        f"{score_text(outcome.calibrated_score, metric)}"
    )
    if not outcome.kept:
        return (f"{name} did not help: {validation}",)
    if found.gain is None:
        return (f"{name}: {validation}",)
    return (f"{name} {_amount(found.gain, metric, found.samples)} over calibration alone", validation)


def _amount(gain: Figure, metric: str, samples: int) -> str:
    better, worse = ("lowered", "raised") if lower_is_better(metric) else ("gained", "lost")
    value, low, high = gain.value, gain.low, gain.high
    if value < 0:
        value, low, high = -value, None if high is None else -high, None if low is None else -low
    of = "" if metric == "accuracy" else f" of {label_of(metric)}"
    amount = f"{better if gain.value >= 0 else worse} {points_text(value, metric)}{of}"
    interval = ""
    if low is not None and high is not None:
        ends = [points_text(end, metric).removesuffix(" pt") for end in (low, high)]
        interval = f"{ends[0]} to {ends[1]}; "
    return f"{amount} ({interval}{samples} test samples, in torch)"
