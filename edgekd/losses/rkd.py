"""Distances and angles between the samples of a batch (Park et al. 2019, sections 3.2.1 and 3.2.2)."""

from __future__ import annotations

import torch
from torch.nn import functional

from edgekd.losses._features import check_not_empty, without_padding


def loss(
    *,
    student_feature: torch.Tensor,
    teacher_feature: torch.Tensor,
    mask: torch.Tensor | None = None,
    distance: float = 1.0,
    angle: float = 2.0,
) -> torch.Tensor:
    r"""Compare the structure of two sets of features.

    .. math:: \frac{\lambda_D}{|P|} \sum_{ij} l(\psi^{teacher}_{ij}, \psi^{student}_{ij})
        + \frac{\lambda_A}{|P_3|} \sum_{ijk} l(\cos^{teacher} \angle ijk, \cos^{student} \angle ijk), \quad
        \psi_{ij} = \frac{1}{\mu} \| x_i - x_j \|_2

    with Huber's loss l of threshold 1, the mean distance mu, and the sets P and P_3 of pairs and triplets of distinct
    samples (arXiv:1904.05068, section 3.2). The paper sums; means keep the weights apart from the batch size.
    Triplets that hold coincident samples have no angle and count as met.

    Args:
        student_feature: (B, ...), flattened.
        teacher_feature: (B, ...), flattened; another shape than the student's is fine.
        mask: (B, T), false where a sequence is filled up: padding does not count.
        distance: Lambda of the distances, 0 or more.
        angle: Lambda of the angles, 0 or more.

    Returns:
        Scalar, no unit, 0 for features equal up to scale, rotation and shift, and for a batch of one.

    >>> feature = torch.randn(4, 3)
    >>> float(loss(student_feature=feature, teacher_feature=feature))
    0.0
    """
    student, teacher = (
        _Geometry(without_padding(feature, mask).flatten(1)) for feature in (student_feature, teacher_feature)
    )
    batch = len(student_feature)
    by_distance = functional.smooth_l1_loss(student.distances(), teacher.distances(), reduction="sum")
    # Where two samples coincide in either network there is no angle to compare.
    defined = student.defined & teacher.defined
    by_angle = functional.smooth_l1_loss(student.cosines() * defined, teacher.cosines() * defined, reduction="sum")
    pairs, triplets = batch * (batch - 1), batch * (batch - 1) * (batch - 2)
    return distance * by_distance / max(1, pairs) + angle * by_angle / max(1, triplets)


def check_shapes(*, student_shape: tuple[int, ...], teacher_shape: tuple[int, ...]) -> None:
    """Refuse features without values.

    Args:
        student_shape: Any.
        teacher_shape: Any.

    Raises:
        ConfigError: An empty shape.

    >>> check_shapes(student_shape=(64,), teacher_shape=(128, 4, 4))
    """
    check_not_empty("rkd", student_shape, teacher_shape)


class _Geometry:
    """Distances and angles of the rows of a matrix, from their products: no (B, B, D) differences in memory."""

    def __init__(self, rows: torch.Tensor) -> None:
        rows = rows - rows.mean(dim=0)  # shifts nothing, and saves the digits of a common offset
        self._gram = rows @ rows.T
        self._norms = self._gram.diagonal()
        squares = self._norms[:, None] + self._norms - 2 * self._gram
        # Rounding makes tiny differences meaningless, and the root's gradient infinite at 0.
        noise = 16 * torch.finfo(rows.dtype).eps * self._norms.max()
        self._distinct = ~torch.eye(len(rows), dtype=torch.bool, device=rows.device)
        self._apart = self._distinct & (squares > noise).detach()
        self._lengths = torch.where(self._apart, squares, 1).sqrt()

    def distances(self) -> torch.Tensor:
        """(B, B) distances over their mean, 0 on the diagonal."""
        lengths = self._lengths * self._apart
        mean = lengths.sum() / self._distinct.sum().clamp(min=1)
        return lengths / mean.clamp(min=torch.finfo(lengths.dtype).tiny)

    @property
    def defined(self) -> torch.Tensor:
        """(B, B, B): whether there is an angle at the first between the second and the third."""
        return self._apart[:, :, None] & self._apart[:, None, :] & self._distinct

    def cosines(self) -> torch.Tensor:
        """(B, B, B) cosines of those angles."""
        gram, norms = self._gram, self._norms
        products = gram - gram[:, :, None] - gram[:, None, :] + norms[:, None, None]
        return products / (self._lengths[:, :, None] * self._lengths[:, None, :])
