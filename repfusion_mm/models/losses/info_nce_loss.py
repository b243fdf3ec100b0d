"""Telling an image's teacher feature from those of other images."""
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from repfusion_mm.arguments.annotations import Positive, Weight
from repfusion_mm.registry import MODELS

from .checks import check_images
from .pooled import pooled
from .unit_vectors import unit_vectors


@MODELS.register_module()
class InfoNCELoss(nn.Module):
    """Which of the batch's teacher features belongs to the student's image?

    The cross-entropy of softmax_j(cos(s_i, t_j) / temperature) with j = i, the
    mean over images: log N where the student knows nothing. The other images
    are those of the same process; one that is in the batch twice counts as
    another image.

    Args:
        temperature (float): Divides the cosines. Defaults to 0.07.
        loss_weight (float): Factor of the loss. Defaults to 1.

    Raises:
        ValueError: If the batch has a single image.

    Source: van den Oord et al., "Representation Learning with Contrastive
    Predictive Coding", arXiv:1807.03748, equation 4.

    Example:
        >>> loss = dict(type='repfusion_mm.InfoNCELoss', temperature=0.1)
    """

    needs_maps = False
    least_images = 2

    def __init__(self,
                 temperature: Positive = 0.07,
                 loss_weight: Weight = 1.) -> None:
        super().__init__()
        self.temperature = temperature
        self.loss_weight = loss_weight

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Compare two features.

        Args:
            student (Tensor): (N, C, H, W) or (N, C), N at least 2.
            teacher (Tensor): As the student's; its gradient is not taken.

        Returns:
            Tensor: Scalar, in float32.
        """
        check_images(self, len(student))
        student = unit_vectors(pooled(student))
        teacher = unit_vectors(pooled(teacher.detach()))
        # products of matrices would be in low precision
        with torch.autocast(student.device.type, enabled=False):
            logits = student @ teacher.T / self.temperature
        own = torch.arange(len(student), device=student.device)
        return self.loss_weight * F.cross_entropy(logits, own)
