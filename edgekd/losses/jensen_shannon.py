"""Generalized Jensen-Shannon divergence, between forward and reverse KL (Agarwal et al. 2024, GKD, eq. 1)."""

from __future__ import annotations

import math

import torch
from torch.nn import functional

from edgekd.errors import ConfigError


def loss(*, student: torch.Tensor, teacher: torch.Tensor, beta: float = 0.5, temperature: float = 1.0) -> torch.Tensor:
    r"""Compare both with a mixture of theirs.

    .. math:: T^2 \left( \beta \, \mathrm{KL}(p \| m) + (1 - \beta) \, \mathrm{KL}(q \| m) \right), \quad
        m = \beta p + (1 - \beta) q

    with p the teacher's and q the student's softened predictions, mean over rows (arXiv:2306.13649, section 2, eq. 1).
    Divided by beta it tends to KL(p || q) for beta to 0, and by 1 - beta to KL(q || p) for beta to 1; those ends are
    the losses `kl` and `reverse_kl`.

    Args:
        student: (B, K) logits.
        teacher: (B, K) logits.
        beta: Above 0 and below 1.
        temperature: T, above 0.

    Returns:
        Scalar, in nats, bounded, 0 when student equals teacher.

    Raises:
        ConfigError: A beta of 0 or less, or of 1 or more.

    >>> logits = torch.randn(4, 3)
    >>> round(abs(float(loss(student=logits, teacher=logits))), 6)
    0.0
    """
    if not 0 < beta < 1:
        raise ConfigError(
            f"beta = {beta:g}", where="loss jensen_shannon", allowed="above 0, below 1", next_step="kl or reverse_kl"
        )
    p, q = (functional.log_softmax(logits / temperature, dim=1) for logits in (teacher, student))
    mixture = torch.logaddexp(p + math.log(beta), q + math.log1p(-beta))
    forward, reverse = (functional.kl_div(mixture, each, reduction="batchmean", log_target=True) for each in (p, q))
    return temperature**2 * (beta * forward + (1 - beta) * reverse)
