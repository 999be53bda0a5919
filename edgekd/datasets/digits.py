"""scikit-learn's 1,797 scans of handwritten digits, 8x8, 10 classes; comes with the package."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np

from edgekd import registry
from edgekd.datasets import Source, Split
from edgekd.errors import MissingExtraError


def load() -> Source:
    """Load the scans; values from 0 to 16.

    >>> load().train.inputs.shape
    (1797, 1, 8, 8)
    """
    bunch = registry.require("sklearn.datasets", "dataset 'digits'").load_digits()
    return Source(
        train=Split(inputs=bunch.images[:, None].astype(np.uint8), labels=bunch.target.astype(np.int64)),
        classes=tuple(str(name) for name in bunch.target_names),
        scale=1 / 16,
    )


def files() -> list[Path]:
    """The file that scikit-learn ships; found without importing it."""
    spec = importlib.util.find_spec("sklearn")
    if spec is None or spec.origin is None:
        raise MissingExtraError(
            "dataset 'digits' needs scikit-learn, which is not installed", next_step="pip install 'edgekd[train]'"
        )
    return [Path(spec.origin).parent / "datasets" / "data" / "digits.csv.gz"]
