"""What all corrections demand of their options and samples."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgekd.errors import ConfigError, DataError


def check_count(correction: str, option: str, value: int) -> None:
    """Refuse an option that is not a whole number of at least 1.

    >>> check_count("rounding", "iterations", 1000)
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigError(
            f"{option} = {value!r}", where=f"correction {correction}", allowed="a whole number, at least 1"
        )


def check_positive(correction: str, option: str, value: float) -> None:
    """Refuse an option that is not above 0.

    >>> check_positive("rounding", "learning_rate", 0.01)
    """
    if not 0 < value < float("inf"):
        raise ConfigError(f"{option} = {value!r}", where=f"correction {correction}", allowed="above 0")


def check_samples(correction: str, samples: NDArray[np.float32]) -> None:
    """Refuse an empty set of samples.

    >>> check_samples("rounding", np.zeros((1, 4), "f"))
    """
    if len(samples) == 0:
        raise DataError("no samples", where=f"correction {correction}", next_step="give samples of the training split")
