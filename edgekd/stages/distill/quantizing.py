"""Quantization-aware distillation: the trained student learns on with the rounding of the file that it becomes."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from torch import fx, nn

from edgekd.datasets import Dataset, Scaled
from edgekd.errors import ConfigError, EdgekdError
from edgekd.metrics import better
from edgekd.records import (
    DistillSpec,
    EpochRecord,
    LossTerm,
    QuantizationOutcome,
    QuantizationTraining,
    decode_precision,
)
from edgekd.simulation import Quantized, fold, observe, simulate, tap, untap
from edgekd.stages.distill.caching import count_views
from edgekd.stages.distill.terms import Term, at
from edgekd.stages.distill.validation import predict, primary_metric, scores_of
from edgekd.stages.distill.views import default_device

_log = logging.getLogger("edgekd")
# Of the student's own learning rate. With their batch norms folded in, weights have gradients of another size, of which
# AdamW knows nothing: at a tenth of SGD's rate a ResNet-8 went back to chance.
_RATES = {"sgd": 0.01, "adamw": 0.1}


@dataclass(frozen=True, kw_only=True)
class QuantizationTrained:
    """What learning with rounding came to.

    Attributes:
        student: Weights and ranges that were learned; `None` where calibration alone scores better.
        calibrated: The student as it was, rounded, with the ranges that were observed: what there was to beat.
        outcome: The scores of both.
    """

    student: Quantized | None
    calibrated: Quantized
    outcome: QuantizationOutcome
    history: tuple[EpochRecord, ...]


class Rehearsal:
    """A student with the rounding of a precision, ready to learn, and by which schedule.

    Batch norms are folded first: a file has none, their scales decide the ranges of the weights that are rounded, and
    statistics that go on moving would move the ranges with every batch (Jacob et al. 2018, arXiv:1712.05877, section
    3.2, folds in every step for that; Nagel et al. 2021, arXiv:2106.08295, section 5.2.2, once, before it starts, and
    finds that simpler and as good). Ranges begin as those of samples of the training split.

    Args:
        student: Trained, or not to find what it would stumble over; not changed.
        data: Ranges come from its training split, scores from its validation split.
        spec: Of the student; `spec.quantization` says how it learns on.
        terms: The student's losses.

    Attributes:
        network: To train.
        spec: To train it by.

    Raises:
        ExportError: The student can't be traced, or what is in it can't be rounded.
        ConfigError: A precision without integer weights, or a layer of a loss that is folded away.
    """

    def __init__(self, student: nn.Module, data: Dataset, spec: DistillSpec, terms: Sequence[Term], name: str) -> None:
        assert spec.quantization is not None  # noqa: S101 - callers ask first
        check_precision(spec.quantization.precision, name)
        self.data, self.precision = data, spec.quantization.precision
        self._folded = fold(student, data.ready(data.validation, 2))
        static = decode_precision(self.precision).mode == "static"
        observed = observe(self._folded, _drawn(data, spec)) if static else None
        self.network: fx.GraphModule = simulate(self._folded, self.precision, ranges=observed)
        self.calibrated = Quantized.of(self.network, self.precision)
        self.spec = _schedule(spec, spec.quantization, self._watched(terms, name), name)

    def _watched(self, terms: Sequence[Term], name: str) -> list[LossTerm]:
        """Give the losses as they are at the end of the student's training, with the layers that they watch now."""
        found = []
        for index, term in enumerate(terms):
            weight = float(at(term.spec.weight, 1.0))
            if weight == 0:
                continue
            losses = replace(term.spec, weight=weight, options=term.options(1.0))
            if term.needs_features and losses.student_layer:
                try:
                    taps = tap(self.network, [losses.student_layer])
                except EdgekdError as error:
                    raise ConfigError(
                        error.what,
                        where=f"{name}: losses.{index}.student_layer",
                        allowed=error.allowed,
                        next_step=error.next_step,
                    ) from None
                losses = replace(losses, student_layer=taps[losses.student_layer])
            found.append(losses)
        return found

    def judge(self, history: Sequence[EpochRecord]) -> QuantizationTrained:
        """Hold the trained network against the one that was only calibrated, on validation data.

        Args:
            history: Of the training, which has put its best weights into `network`.
        """
        untap(self.network)
        trained = Quantized.of(self.network, self.precision)
        scores = [self._score(each) for each in (self._folded, self.calibrated.simulated(), trained.simulated())]
        metric = primary_metric(self.data)
        kept = not better(metric, scores[1], scores[2])
        _log.info(
            "quantization-aware training in %s: validation %s %.4f, calibration alone %.4f, float %.4f: %s",
            self.precision,
            metric,
            scores[2],
            scores[1],
            scores[0],
            "kept" if kept else "left out",
        )
        outcome = QuantizationOutcome(
            precision=self.precision,
            metric=metric,
            float_score=scores[0],
            calibrated_score=scores[1],
            trained_score=scores[2],
            kept=kept,
            ranges=trained.ranges,
        )
        return QuantizationTrained(
            student=trained if kept else None,
            calibrated=self.calibrated,
            outcome=outcome,
            history=tuple(history),
        )

    def _score(self, network: nn.Module) -> float:
        device = default_device()
        outputs = predict(network.to(device), self.data.validation, self.data, device)
        network.cpu()
        return scores_of(outputs, self.data.validation, self.data)[0].value


def check_precision(precision: str, name: str) -> None:
    """Refuse a precision that rounds nothing that a training could make up for.

    Raises:
        ConfigError: Its weights are floats, or it does not exist.

    >>> check_precision("fp16", "student")
    Traceback (most recent call last):
        ...
    edgekd.errors.ConfigError: student: quantization.precision: fp16 has float weights; allowed: integer weights
    """
    if not decode_precision(precision).weights.startswith("int"):
        raise ConfigError(
            f"{precision} has float weights",
            where=f"{name}: quantization.precision",
            allowed="integer weights",
        )


def _drawn(data: Dataset, spec: DistillSpec) -> NDArray[np.float32]:
    """Draw samples of the training split, as the network takes them, by the student's seed."""
    assert spec.quantization is not None  # noqa: S101 - callers ask first
    count = min(spec.quantization.samples, len(data.train))
    numbers = np.sort(np.random.default_rng(spec.seed).choice(len(data.train), count, replace=False))
    samples = Scaled(data.train.inputs, data.scale)
    return np.concatenate([samples[number : number + 1] for number in numbers.tolist()])


def _schedule(
    spec: DistillSpec, quantization: QuantizationTraining, losses: Sequence[LossTerm], name: str
) -> DistillSpec:
    """Give the schedule by which the student learns on: its own, but for what rounding makes different."""
    if not losses:
        raise ConfigError(
            "the weights of all losses end at 0: nothing is left to learn by",
            where=f"{name}: quantization",
            next_step="let one of them end above 0",
        )
    return replace(
        spec,
        epochs=quantization.epochs,
        learning_rate=quantization.learning_rate or _RATES[spec.optimizer] * spec.learning_rate,
        schedule="cosine",
        warmup_epochs=0.0,
        losses=tuple(losses),
        # As many as the teachers' caches have: they are asked nothing new.
        views=spec.views if spec.cache == "off" else count_views(spec),
        # bfloat16 has fewer steps than the integers that are simulated.
        mixed_precision="off",
        # Of weights whose batch norm is folded in, the norm is another one.
        max_norm=None,
        compile=False,
        control=False,
        seeds=1,
    )
