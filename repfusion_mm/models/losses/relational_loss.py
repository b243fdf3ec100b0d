"""How the images of a batch lie to each other."""
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from repfusion_mm.arguments.annotations import Count, Weight
from repfusion_mm.registry import MODELS

from .checks import check_images
from .pooled import pooled
from .unit_vectors import SHORTEST, unit_vectors


@MODELS.register_module()
class RelationalLoss(nn.Module):
    """Relational knowledge distillation: distances and angles in a batch.

    Distance term: the matrix of pairwise distances (squared ones clamped at
    1e-12 before the root, the diagonal 0), divided by the mean of its positive
    entries. Angle term: the cosines of all triplets, seen from each image i,
    between the unit vectors to j and to k. Student and teacher are compared by
    smooth L1 (beta 1), the mean taken over all N^2 and all N^3 entries, zero
    ones included. Images no further apart than 1e-6 have no direction to each
    other: their cosines are 0, and no gradient goes there.

    The N^3 cosines are never in memory together, forward or backward: they
    are made ``chunk_size`` images i at a time, and once more for the gradient.

    Args:
        distance_weight (float): Factor of the distance term. Defaults to 25.
        angle_weight (float): Factor of the angle term. Defaults to 50.
        chunk_size (int): Images i at a time. Memory grows with chunk_size * N
            * (N + C); value and gradient do not depend on it. Defaults to 32.
        loss_weight (float): Factor of the loss. Defaults to 1.

    Raises:
        ValueError: If the batch has a single image.

    Source: Park et al., "Relational Knowledge Distillation", CVPR 2019,
    section 3.2.

    Example:
        >>> loss = dict(type='repfusion_mm.RelationalLoss', angle_weight=25.)
    """

    needs_maps = False
    least_images = 2

    def __init__(self,
                 distance_weight: Weight = 25.,
                 angle_weight: Weight = 50.,
                 chunk_size: Count = 32,
                 loss_weight: Weight = 1.) -> None:
        super().__init__()
        self.distance_weight = distance_weight
        self.angle_weight = angle_weight
        self.chunk_size = chunk_size
        self.loss_weight = loss_weight

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Compare two features.

        Args:
            student (Tensor): (N, C, H, W) or (N, C), N at least 2.
            teacher (Tensor): (N, C', H, W) or (N, C'); its gradient is not
                taken.

        Returns:
            Tensor: Scalar, in float32.
        """
        check_images(self, len(student))
        student, teacher = pooled(student), pooled(teacher.detach())
        # products of matrices would be in low precision
        with torch.autocast(student.device.type, enabled=False):
            distance = F.smooth_l1_loss(self._distances(student),
                                        self._distances(teacher))
            angle = sum(
                checkpoint(_angle_difference, student, teacher, start,
                           self.chunk_size, use_reentrant=False,
                           preserve_rng_state=False)
                for start in self._starts(student)) / len(student)**3
        return self.loss_weight * (self.distance_weight * distance +
                                   self.angle_weight * angle)

    def _starts(self, vectors: Tensor) -> range:
        return range(0, len(vectors), self.chunk_size)

    def _distances(self, vectors: Tensor) -> Tensor:
        """Pairwise distances over their mean, (N, N)."""
        n = len(vectors)
        distances = torch.cat([
            checkpoint(_distances_from, vectors, start, self.chunk_size,
                       use_reentrant=False, preserve_rng_state=False)
            for start in self._starts(vectors)])
        distances = distances * (1 - torch.eye(n, device=vectors.device))
        # all but the diagonal are positive: they are clamped
        return distances / (distances.sum() / (n * (n - 1)))


def _differences_from(vectors: Tensor, start: int, size: int) -> Tensor:
    """Vectors from some images i to all j, (size, N, C)."""
    # not by |a|^2 + |b|^2 - 2ab, which cancels for close neighbours
    return vectors - vectors[start:start + size, None]


def _distances_from(vectors: Tensor, start: int, size: int) -> Tensor:
    """Distances from some images i to all j, (size, N)."""
    squared = _differences_from(vectors, start, size).square().sum(2)
    return squared.clamp(min=SHORTEST**2).sqrt()


def _cosines_at(vectors: Tensor, start: int, size: int) -> Tensor:
    """Cosines of the angles j-i-k at some images i, (size, N, N)."""
    units = unit_vectors(_differences_from(vectors, start, size))
    return units @ units.transpose(1, 2)


def _angle_difference(student: Tensor, teacher: Tensor, start: int,
                      size: int) -> Tensor:
    """Sum of the smooth L1 differences of the cosines at some images i."""
    return F.smooth_l1_loss(_cosines_at(student, start, size),
                            _cosines_at(teacher, start, size),
                            reduction='sum')
