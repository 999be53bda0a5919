"""A student that learned with the rounding of a precision: what is kept of it, and how it is put together again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, fx, nn

from edgekd.errors import ExportError
from edgekd.records import Ranges
from edgekd.simulation.folding import fold
from edgekd.simulation.simulating import ranges, simulate, strip
from edgekd.simulation.watching import batches


@dataclass(frozen=True, kw_only=True, eq=False)
class Quantized:
    """A student in one precision: weights on its grid, and the ranges of its activations.

    Attributes:
        network: Folded, in float32, without any rounding in it; its weights are rounded already.
        precision: Of the files that it becomes.
        ranges: Lower and upper end by operator; none where activations are floats.
        sha256: Of the file that its weights lie in, if any.
    """

    network: fx.GraphModule
    precision: str
    ranges: Ranges = field(default_factory=dict)
    sha256: str | None = None

    @classmethod
    def of(cls, simulated: fx.GraphModule, precision: str) -> Quantized:
        """Take the rounding out of a simulated network.

        Args:
            simulated: Of `simulate`, trained or not; not changed.
            precision: That it was simulated in.
        """
        return cls(network=strip(simulated).cpu().eval(), precision=precision, ranges=ranges(simulated))

    @classmethod
    def load(
        cls,
        student: nn.Module,
        example: NDArray[np.float32],
        weights: Mapping[str, Tensor],
        *,
        precision: str,
        ranges: Ranges,
        sha256: str | None = None,
    ) -> Quantized:
        """Put kept weights back into the student's traced graph.

        Args:
            student: The network that learned, with any weights.
            example: One input or a few, (N, ...).
            weights: The state of `network`, as it was kept.
            precision: As it was kept.
            ranges: As they were kept.
            sha256: Of the weights' file.

        Raises:
            ExportError: The weights are of another network.

        >>> student = nn.Sequential(nn.Linear(2, 1), nn.ReLU())
        >>> example, precision = np.ones((1, 2), "f"), "weight_only_wi8_afp32"
        >>> kept = Quantized.of(simulate(fold(student, example), precision), precision)
        >>> again = Quantized.load(student, example, kept.network.state_dict(), precision=precision, ranges={})
        >>> bool((again.outputs(example) == kept.outputs(example)).all())
        True
        """
        network = fold(student, example)
        try:
            network.load_state_dict(dict(weights))
        except RuntimeError as error:
            raise ExportError(
                f"quantized weights of another network: {str(error).splitlines()[-1].strip()}",
                where="student",
                next_step="distil the student again",
            ) from None
        return cls(network=network, precision=precision, ranges=dict(ranges), sha256=sha256)

    def simulated(self) -> fx.GraphModule:
        """Put the rounding in again: what its files compute."""
        return simulate(self.network, self.precision, ranges=self.ranges)

    def outputs(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Give what its files give.

        Args:
            inputs: (N, ...).

        Returns:
            (N, outputs).
        """
        network = self.simulated()
        with torch.inference_mode():
            outputs: NDArray[np.float32] = torch.cat([network(batch) for batch in batches(inputs)]).numpy()
        return outputs
