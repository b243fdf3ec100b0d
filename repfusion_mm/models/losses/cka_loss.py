"""Whether the images lie alike to each other, up to rotation and scale."""
import torch
from torch import Tensor, nn

from repfusion_mm.arguments.annotations import Weight
from repfusion_mm.registry import MODELS

from .checks import check_images
from .pooled import pooled
from .unit_vectors import unit_vectors


@MODELS.register_module()
class CKALoss(nn.Module):
    """1 - linear CKA of the batch, from 0 to 1.

    CKA = |Y^T X|^2 / (|X^T X| |Y^T Y|) in Frobenius norms, with X and Y the
    features of the batch, (N, C), their mean subtracted. It does not change
    under rotations and scalings of either side. Where all images have the same
    feature, CKA is 0 and has no gradient.

    With fewer images than channels it is close to 1 whatever the features:
    take the batch several times larger than the teacher has channels, or
    another loss. Two images always have the CKA 1 and teach nothing, so they
    are refused like a single one.

    Args:
        loss_weight (float): Factor of the loss. Defaults to 1.

    Raises:
        ValueError: If the batch has less than 3 images.

    Source: Kornblith et al., "Similarity of Neural Network Representations
    Revisited", ICML 2019, section 3.

    Example:
        >>> loss = dict(type='repfusion_mm.CKALoss')
    """

    needs_maps = False
    least_images = 3

    def __init__(self, loss_weight: Weight = 1.) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Compare two features.

        Args:
            student (Tensor): (N, C, H, W) or (N, C), N at least 3.
            teacher (Tensor): (N, C', H, W) or (N, C'); its gradient is not
                taken.

        Returns:
            Tensor: Scalar, in float32.
        """
        check_images(self, len(student))
        return self.loss_weight * (
            1 - linear_cka(pooled(student), pooled(teacher.detach())))


def linear_cka(one: Tensor, other: Tensor) -> Tensor:
    """How alike the images lie in two spaces of features, from 0 to 1.

    Args:
        one (Tensor): Features of N images, float, (N, C).
        other (Tensor): Of the same images, in the same precision, (N, C').

    Returns:
        Tensor: Scalar.
    """
    one, other = _centred(one), _centred(other)
    # products of matrices would be in low precision
    with torch.autocast(one.device.type, enabled=False):
        if len(one) <= min(one.size(1), other.size(1)):
            # the same from (N, N) matrices, here the smaller ones
            one, other = one @ one.T, other @ other.T
            shared = (one * other).sum()
        else:
            shared = (other.T @ one).square().sum()
            one, other = one.T @ one, other.T @ other
    # of features of norm 1 these are far above 1e-12, of zero ones zero
    own = torch.linalg.matrix_norm(one) * torch.linalg.matrix_norm(other)
    return shared / own.clamp(min=1e-12)


def _centred(vectors: Tensor) -> Tensor:
    """Vectors minus their mean, all together of norm 1, (N, C)."""
    # scaled first, so that rounding errors of the mean are too short to count
    vectors = unit_vectors(vectors, (0, 1))
    return unit_vectors(vectors - vectors.mean(0), (0, 1))
