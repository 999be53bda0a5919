"""Fixtures of the tests of teachers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray


@pytest.fixture(scope="session")
def photos(shared_data: Path) -> NDArray[np.float32]:
    """(20, 3, 32, 32) CIFAR-10 training images, 0 to 255."""
    with np.load(shared_data / "cifar10" / "cifar10_lossless_train4000.npz") as arrays:
        images = arrays["x_train_first4000"][:20]
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2)).astype(np.float32)
