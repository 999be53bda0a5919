"""Blending: equation 1 of the paper in NumPy, with shares that are Beta distributed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from edgekd import registry
from edgekd.errors import ConfigError

mixup = registry.function("augmentations", "mixup")


@pytest.mark.parametrize("shape", [(3, 5, 4), (2, 30), (7,)])
def test_equals_the_paper_s_equation_in_numpy(shape: tuple[int, ...]) -> None:
    chance = np.random.default_rng(0)
    own, other = (chance.normal(size=(50, *shape)).astype(np.float32) for _ in range(2))
    made, share = mixup(
        seed=1, view=2, indices=torch.arange(50), inputs=torch.from_numpy(own), partners=torch.from_numpy(other)
    )
    wide = share.double().numpy().reshape(50, *[1] * len(shape))
    np.testing.assert_allclose(made.numpy(), wide * own + (1 - wide) * other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_shares_are_beta_distributed(alpha: float) -> None:
    count = 20_000
    nothing = torch.zeros(count, 1)
    _, share = mixup(seed=3, view=0, indices=torch.arange(count), inputs=nothing, partners=nothing, alpha=alpha)
    assert stats.kstest(share.double().numpy(), stats.beta(alpha, alpha).cdf).pvalue > 1e-4


@pytest.mark.parametrize("alpha", [0.0, -1.0])
def test_shares_that_no_distribution_gives_are_refused(alpha: float) -> None:
    nothing = torch.zeros(2, 1)
    with pytest.raises(ConfigError, match=f"augmentation mixup: alpha = {alpha}; allowed: above 0"):
        mixup(seed=0, view=0, indices=torch.arange(2), inputs=nothing, partners=nothing, alpha=alpha)
