"""Brings what a student learned with rounding into its files: ranges by what activations hold, not by their names."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edgekd.records import Head, Preprocessing, QuantizationPlan, Ranges
from edgekd.stages.export.converting import recognise
from edgekd.stages.export.watching import Tensors

if TYPE_CHECKING:
    from edgekd.simulation import Quantized

# What a traced network calls what goes into it.
INPUT = "input"
# Enough that two activations which are alike in all of them are the same one.
_PROBES = 4


@dataclass(frozen=True, kw_only=True)
class Learned:
    """What files of a precision take from the student that learned with its rounding.

    Attributes:
        precision: Of the files.
        ranges: By operator, also of those that share another's range; none where activations are floats.
        outputs: What the simulation gives for the check samples, (N, outputs): its files must give the same. Another
            student's outputs, also those of the one that did not learn on, would say nothing of the conversion.
        probes: Some of these samples.
        activations: By operator, what it gives for them before it is rounded.
        sha256: Of the file that the weights lie in.
    """

    precision: str
    ranges: Ranges
    outputs: NDArray[np.float32]
    probes: NDArray[np.float32]
    activations: Tensors
    sha256: str | None

    @classmethod
    def of(
        cls,
        quantized: Quantized,
        check: NDArray[np.float32],
        *,
        raw: NDArray[np.float32],
        preprocessing: Preprocessing | None = None,
        head: Head = "logits",
    ) -> Learned:
        """Run the rounded student on samples.

        Args:
            quantized: Of distillation.
            check: Of the validation split, (N, ...), as the student takes them.
            raw: The same, as its files take them.
            preprocessing: That files do themselves, if any.
            head: What files give.
        """
        from edgekd.simulation import activations, operators

        ranges = {
            name: quantized.ranges[each.range_of]
            for name, each in operators(quantized.network).items()
            if each.range_of in quantized.ranges
        }
        seen = activations(quantized.network, check[:_PROBES])
        if preprocessing and not preprocessing.mean and INPUT in ranges:
            # The first layer's weights hold the scale: what is rounded are the raw values.
            seen = {**seen, INPUT: raw[:_PROBES]}
            low, high = ranges[INPUT]
            ranges[INPUT] = (low / preprocessing.scale, high / preprocessing.scale)
        outputs = quantized.outputs(check)
        return cls(
            precision=quantized.precision,
            ranges=ranges,
            outputs=_softmax(outputs) if head == "probabilities" else outputs,
            probes=raw[:_PROBES],
            activations=seen,
            sha256=quantized.sha256,
        )

    def laid_over(self, plan: QuantizationPlan, format_name: str, source: Path) -> QuantizationPlan:
        """Put learned ranges in place of those that calibration found.

        Quantizers ask for more than what is rounded, such as what flows into a ReLU: of that calibration's range stays.

        Args:
            plan: With ranges from calibration.
            format_name: Of the file.
            source: The float file, with its names.
        """
        if not self.ranges:
            return plan
        sites = recognise(format_name, source, self.activations, self.probes)
        learned = {name: self.ranges[site] for name, site in sites.items() if site and site in self.ranges}
        return replace(plan, ranges={**plan.ranges, **learned})


def _softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    powers = np.exp(logits - logits.max(1, keepdims=True))
    shares: NDArray[np.float32] = powers / powers.sum(1, keepdims=True)
    return shares
