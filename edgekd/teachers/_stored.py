"""A teacher that is a table: logits that were computed elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edgekd.errors import DataError


class StoredLogits(nn.Module):
    """A teacher that was asked before: its logits for every sample of the source.

    Copies share the numbers, which may be mapped from a file; a pickle holds all of them.

    Attributes:
        samples: How many samples there are logits of.
        views: How many augmented views of each; 1 where the samples were not augmented.
        classes: How many logits each has.
        names: Of the classes, in the order of the logits in the file; empty where they are not known.

    >>> import torch
    >>> teacher = StoredLogits(np.arange(12, dtype="f2").reshape(3, 2, 2), sha256="")
    >>> teacher(torch.tensor([2, 0]), view=1)
    tensor([[10., 11.],
            [ 2.,  3.]])
    """

    def __init__(
        self,
        logits: NDArray[np.floating],
        *,
        sha256: str,
        names: Sequence[str] = (),
        columns: Sequence[int] = (),
        probabilities: bool = False,
    ) -> None:
        """Keep logits.

        Args:
            logits: (N, V, C), aligned with the source's training array.
            sha256: Of the file they come from.
            names: Of the classes.
            columns: Which of them are asked for, in which order; empty for all.
            probabilities: They are no logits but probabilities, and become logits.
        """
        super().__init__()
        self.samples, self.views, self.classes = *logits.shape[:2], len(columns) or logits.shape[2]
        self.names = tuple(names)
        self._logits, self._sha256 = logits, sha256
        self._columns, self._probabilities = list(columns), probabilities
        self.eval()

    def forward(self, positions: Tensor, view: int = 0) -> Tensor:
        """Look up logits.

        Args:
            positions: (B,) int64, where the samples lie in the source.
            view: Which one, from 0.

        Returns:
            (B, C) float32.

        Raises:
            DataError: No logits of such a sample or view.
        """
        if not 0 <= view < self.views:
            raise DataError(f"no stored logits of view {view}", allowed=f"0 to {self.views - 1}")
        where = positions.detach().cpu().numpy()
        if where.size and not 0 <= where.min() <= where.max() < self.samples:
            raise DataError(
                f"no stored logits of sample {where.max() if where.min() >= 0 else where.min()}",
                allowed=f"0 to {self.samples - 1}",
                next_step="store logits of all of the source's training samples, in its order",
            )
        # Indexed, so copied: only these rows are read from the file.
        found = self._logits[where, view].astype(np.float32)
        if self._probabilities:
            found = np.log(np.maximum(found, np.float32(1e-7)))
        if self._columns:
            found = found[:, self._columns]
        return torch.from_numpy(found).to(positions.device)

    def fingerprint(self) -> str:
        """SHA-256 of the file that holds the logits."""
        return self._sha256

    def __deepcopy__(self, memo: dict[int, object]) -> StoredLogits:
        return self.adapted(self._columns, probabilities=self._probabilities)

    def adapted(self, columns: Sequence[int], *, probabilities: bool) -> StoredLogits:
        """Give the same logits in another order, or those of stored probabilities."""
        return StoredLogits(
            self._logits, sha256=self._sha256, names=self.names, columns=columns, probabilities=probabilities
        )
