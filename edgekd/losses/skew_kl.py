"""Skewed Kullback-Leibler divergence, whose gradients stay small (Ko et al. 2024, DistiLLM, eq. 3 and 6)."""

from __future__ import annotations

import math

import torch
from torch.nn import functional

from edgekd.errors import ConfigError


def loss(
    *,
    student: torch.Tensor,
    teacher: torch.Tensor,
    skew: float = 0.1,
    reverse: bool = False,
    temperature: float = 1.0,
) -> torch.Tensor:
    r"""Compare the teacher with a student that is mixed with some of the teacher, or the other way round.

    .. math:: T^2 \, \mathrm{KL}(p \| \alpha p + (1 - \alpha) q), \quad \text{or reversed} \quad
        T^2 \, \mathrm{KL}(q \| (1 - \alpha) p + \alpha q)

    with p the teacher's and q the student's softened predictions, mean over rows (arXiv:2402.03898, section 3.1; both
    with alpha = 0.1 there). No term is larger than -log alpha, where plain divergences know no bound.

    Args:
        student: (B, K) logits.
        teacher: (B, K) logits.
        skew: Alpha, above 0 and below 1.
        reverse: Take the second.
        temperature: T, above 0.

    Returns:
        Scalar, in nats, at most -log(alpha) at T = 1, 0 when student equals teacher.

    Raises:
        ConfigError: A skew of 0 or less, or of 1 or more.

    >>> logits = torch.randn(4, 3)
    >>> round(abs(float(loss(student=logits, teacher=logits))), 6)
    0.0
    """
    if not 0 < skew < 1:
        raise ConfigError(
            f"skew = {skew:g}", where="loss skew_kl", allowed="above 0, below 1", next_step="kl or reverse_kl"
        )
    p, q = (functional.log_softmax(logits / temperature, dim=1) for logits in (teacher, student))
    first, second = (q, p) if reverse else (p, q)
    mixture = torch.logaddexp(first + math.log(skew), second + math.log1p(-skew))
    return temperature**2 * functional.kl_div(mixture, first, reduction="batchmean", log_target=True)
