"""Corrects the student for each precision with integers, and keeps what gains on validation data."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edgekd import registry
from edgekd.progress import Progress
from edgekd.records import Correction, ExportSpec, decode_precision
from edgekd.stages.export.calibrating import SampleSource, batches_of
from edgekd.stages.export.converting import pack

if TYPE_CHECKING:
    from torch import fx, nn

_log = logging.getLogger("edgekd")


def correct(
    network: nn.Module,
    spec: ExportSpec,
    *,
    samples: SampleSource | None,
    check: NDArray[np.float32],
    progress: Progress | None,
    learned: str | None = None,
) -> tuple[dict[str, bytes], tuple[Correction, ...]]:
    """Correct a copy of the student for each precision that stores integers.

    Args:
        network: On the CPU, in evaluation mode.
        spec: Precisions, and corrections in order.
        samples: For calibration; corrections learn from them.
        check: Of the validation split; they judge.
        progress: Hears of corrections that take long.
        learned: A precision whose rounding the weights have learned already: corrections would undo it.

    Returns:
        By precision the corrected networks as bytes for the converters, of precisions for which something was kept; and
        what each correction was worth.

    Raises:
        ExportError: The network can't be traced.
        ConfigError: An option of a correction is out of range.
    """
    if not spec.corrections or samples is None:
        return {}, ()
    from edgekd.simulation import fold

    learned_from = np.concatenate(list(batches_of(samples)))
    folded = fold(network, check[:2])
    corrected, worth = {}, []
    precisions = dict.fromkeys(precision for _, precision in spec.pairs())
    for precision in precisions:
        if not decode_precision(precision).weights.startswith("int"):
            continue
        if precision == learned:
            _log.info("export: no corrections for %s: its weights and ranges were learned with its rounding", precision)
            continue
        judge = _Judge(folded, precision, learned_from, check)
        best, before = folded, judge.error(folded)
        for term in spec.corrections:
            given = {"network": best, "samples": learned_from, "precision": precision, "progress": progress}
            accepted = registry.passed("corrections", term.name)
            candidate = registry.function("corrections", term.name)(
                **{key: value for key, value in given.items() if key in accepted}, **term.options
            )
            after = judge.error(candidate)
            worth.append(
                Correction(precision=precision, name=term.name, before=before, after=after, kept=after < before)
            )
            _log.info(
                "export: %s for %s: error of the outputs %.4f, before %.4f: %s",
                term.name,
                precision,
                after,
                before,
                "kept" if after < before else "left out",
            )
            if after < before:
                best, before = candidate, after
        if best is not folded:
            corrected[precision] = pack(best)[1]
    return corrected, tuple(worth)


class _Judge:
    """Simulates a precision and compares outputs on validation data with the float student's."""

    def __init__(
        self, folded: fx.GraphModule, precision: str, samples: NDArray[np.float32], check: NDArray[np.float32]
    ) -> None:
        self.precision, self.samples, self.check = precision, samples, check
        self.expected = _outputs(folded, check)

    def error(self, network: fx.GraphModule) -> float:
        """Root-mean-square error as a share of the outputs' deviation."""
        from edgekd.simulation import observe, simulate

        ranges = observe(network, self.samples) if self.precision.startswith("static") else None
        found = _outputs(simulate(network, self.precision, ranges=ranges), self.check)
        spread = float(self.expected.std()) or 1.0
        return float(np.sqrt(((found - self.expected) ** 2).mean())) / spread


def _outputs(network: fx.GraphModule, inputs: NDArray[np.float32]) -> NDArray[np.float64]:
    import torch

    from edgekd.simulation import batches

    with torch.inference_mode():
        return torch.cat([network(batch) for batch in batches(inputs)]).double().numpy()
