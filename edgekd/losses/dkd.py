"""Decoupled distillation: the target class and all others weighted apart (Zhao et al. 2022, eq. 7)."""

from __future__ import annotations

import torch
from torch.nn import functional


def loss(
    *,
    student: torch.Tensor,
    teacher: torch.Tensor,
    labels: torch.Tensor,
    temperature: float = 4.0,
    target: float = 1.0,
    others: float = 8.0,
) -> torch.Tensor:
    r"""Compare how likely the target class is, and how the rest is shared out.

    .. math:: T^2 (\alpha \, \mathrm{KL}(b^{teacher} \| b^{student})
        + \beta \, \mathrm{KL}(\hat p^{teacher} \| \hat p^{student})), \quad
        b = (p_t, 1 - p_t), \; \hat p_k = p_k / (1 - p_t), \; k \ne t

    with p the softened predictions and t the target class (arXiv:2203.08679, section 3). Hinton's loss is the case
    of alpha = 1 and beta = 1 - p_t of the teacher.

    Args:
        student: (B, K) logits, two classes or more.
        teacher: (B, K) logits.
        labels: (B,) int64, -1 for no label; or (B, K) probabilities of classes, whose largest counts, a row of zeros
            for no label. Without a label the teacher's most likely class is the target.
        temperature: T, above 0.
        target: Alpha, 0 or more.
        others: Beta, 0 or more; the better the teacher knows the sample, the larger (the paper's table 6).

    Returns:
        Scalar, in nats, mean over samples, 0 when student equals teacher.

    >>> logits = torch.randn(4, 3)
    >>> float(loss(student=logits, teacher=logits, labels=torch.tensor([0, 2, -1, 1])))
    0.0
    """
    classes = _targets(labels, teacher)[:, None]
    # Leaving the target's column out is exact where the authors' code takes 1000 away from its logit.
    columns = torch.arange(student.shape[1] - 1, device=student.device)
    rest = columns + (columns >= classes)
    p, q = (functional.log_softmax(logits / temperature, dim=1) for logits in (teacher, student))
    binary = _divergence(_binary(p, classes, rest), _binary(q, classes, rest))
    shared = _divergence(
        functional.log_softmax(p.gather(1, rest), dim=1), functional.log_softmax(q.gather(1, rest), dim=1)
    )
    return temperature**2 * (target * binary + others * shared)


def _targets(labels: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    likely = teacher.argmax(dim=1)
    if labels.ndim > 1:
        return torch.where(labels.sum(dim=1) > 0, labels.argmax(dim=1), likely)
    return torch.where(labels >= 0, labels, likely)


def _binary(log_p: torch.Tensor, classes: torch.Tensor, rest: torch.Tensor) -> torch.Tensor:
    # log(1 - p) from the other classes: no digits are lost where p is close to 1.
    return torch.cat([log_p.gather(1, classes), log_p.gather(1, rest).logsumexp(dim=1, keepdim=True)], dim=1)


def _divergence(log_p: torch.Tensor, log_q: torch.Tensor) -> torch.Tensor:
    return functional.kl_div(log_q, log_p, reduction="batchmean", log_target=True)
