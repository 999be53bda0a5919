"""Hinton's loss on standardized logits, whose scale is then free (Sun et al. 2024, section 4)."""

from __future__ import annotations

import torch
from torch.nn import functional


def loss(*, student: torch.Tensor, teacher: torch.Tensor, temperature: float = 2.0) -> torch.Tensor:
    r"""Compare softened predictions after each sample's logits got mean 0 and standard deviation 1.

    .. math:: T^2 \frac{1}{B} \sum_b \mathrm{KL}(\mathrm{softmax}(Z(z^{teacher}_b) / T) \,\|\,
        \mathrm{softmax}(Z(z^{student}_b) / T)), \quad Z(z) = \frac{z - \mu(z)}{\sigma(z)}

    with the standard deviation over the K classes (arXiv:2403.01427, section 4 and its algorithms).

    Args:
        student: (B, K) logits.
        teacher: (B, K) logits.
        temperature: T, above 0; the paper's base temperature.

    Returns:
        Scalar, in nats, 0 when student equals teacher, up to a positive factor and a constant.

    >>> logits = torch.tensor([[1.0, 2.0, 4.0]])
    >>> round(float(loss(student=3 * logits + 1, teacher=logits)), 5)
    0.0
    """
    return temperature**2 * functional.kl_div(
        functional.log_softmax(_standardize(student) / temperature, dim=1),
        functional.log_softmax(_standardize(teacher) / temperature, dim=1),
        reduction="batchmean",
        log_target=True,
    )


def _standardize(logits: torch.Tensor) -> torch.Tensor:
    centred = logits - logits.mean(dim=1, keepdim=True)
    # A norm, whose gradient at 0 is 0, where that of a square root is infinite.
    deviation = torch.linalg.vector_norm(centred, dim=1, keepdim=True) / logits.shape[1] ** 0.5
    standard: torch.Tensor = centred / (deviation + 1e-7)
    return standard
