"""What a mixed file must keep: a score, or a size."""

from __future__ import annotations

from collections.abc import Sequence

from edgekd.errors import ExportError
from edgekd.metrics import better
from edgekd.records import MixedFile, MixedPrecisionSpec
from edgekd.units import METRICS, human, human_as, parse_limit, parse_size

# Of scores that were summed in another order.
_SAME = 1e-12


class Budget:
    """A limit on what the score may lose, or on the size.

    Args:
        spec: Has one of both.
        metric: Of the task: what scores are of.

    Raises:
        ConfigError: A limit in a unit that the metric does not have.

    >>> budget = Budget(MixedPrecisionSpec(max_drop="0.3 pt"), "accuracy")
    >>> str(budget), budget.keeps(0.897, 0.9), budget.keeps(0.896, 0.9)
    ('max_drop = 0.3 pt', True, False)
    """

    def __init__(self, spec: MixedPrecisionSpec, metric: str) -> None:
        self.metric, self.spec = metric, spec
        self.size = None if spec.max_size is None else parse_size(spec.max_size, "mixed")
        self.drop = None if spec.max_drop is None else parse_limit(_loss_of(metric), spec.max_drop)

    def __str__(self) -> str:
        return f"max_size = {self.spec.max_size}" if self.drop is None else f"max_drop = {self.spec.max_drop}"

    def keeps(self, score: float, reference: float) -> bool:
        """Whether a score loses no more than it may; any does where the size is limited."""
        if self.drop is None:
            return True
        allowed = self.drop.value * (abs(reference) if self.drop.unit == "%" else 1.0)
        return self._worse_by(score, reference) <= allowed + _SAME

    def choose(self, files: Sequence[MixedFile], reference: float, format_name: str) -> int:
        """Choose the smallest that keeps the score, or the best that fits.

        Args:
            files: The smallest first.
            reference: The float student's score.
            format_name: For the message.

        Returns:
            Its number.

        Raises:
            ExportError: There is none; with the one that comes nearest.
        """
        if self.size is not None:
            fitting = [number for number, file in enumerate(files) if file.size_bytes <= self.size]
            if not fitting:
                raise ExportError(
                    f"the smallest {format_name} file that the candidates give has {human(files[0].size_bytes, 'B')}",
                    where=f"export.mixed: {self}",
                    next_step="allow more, or add candidates with fewer bits",
                )
            return min(fitting, key=lambda number: (self._worse_by(files[number].score, reference), files[number].loss))
        for number, file in enumerate(files):
            if self.keeps(file.score, reference):
                return number
        nearest = min(files, key=lambda file: (self._worse_by(file.score, reference), file.loss))
        lost = self._worse_by(nearest.score, reference)
        shown = human_as(self.spec.max_drop or "", lost, METRICS[_loss_of(self.metric)].unit)
        raise ExportError(
            f"of {len(files)} {format_name} files that were tried the nearest, of {human(nearest.size_bytes, 'B')}, "
            f"loses {shown} of {self.metric.replace('_', ' ')} on validation data",
            where=f"export.mixed: {self}",
            next_step="allow more, or add candidates with more bits",
        )

    def _worse_by(self, score: float, reference: float) -> float:
        return reference - score if better(self.metric, 1.0, 0.0) else score - reference


def _loss_of(metric: str) -> str:
    """The metric that limits are of: accuracy lost, error added."""
    return next(name for name, each in METRICS.items() if each.source == metric)
