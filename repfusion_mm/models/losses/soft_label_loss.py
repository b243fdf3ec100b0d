"""The classic: what a classifier finds likely."""
import torch.nn.functional as F
from torch import Tensor, nn

from repfusion_mm.arguments.annotations import Positive, Weight
from repfusion_mm.registry import MODELS

from .pooled import pooled


@MODELS.register_module()
class SoftLabelLoss(nn.Module):
    """KL divergence of the teacher's class probabilities from the student's.

    T^2 * KL(softmax(teacher / T) || softmax(student / T)), the mean over
    images, with T the temperature. The teacher's feature has to be its logits,
    so tap its last layer. The student's map is pooled: the connection's 1x1
    convolution is then a linear classifier on the student's pooled feature.

    Args:
        temperature (float): T, the higher the softer. Defaults to 4.
        loss_weight (float): Factor of the loss. Defaults to 1.

    Source: Hinton et al., "Distilling the Knowledge in a Neural Network",
    arXiv:1503.02531, section 2.

    Example:
        >>> loss = dict(type='repfusion_mm.SoftLabelLoss', temperature=2.)
    """

    needs_maps = False

    def __init__(self,
                 temperature: Positive = 4.,
                 loss_weight: Weight = 1.) -> None:
        super().__init__()
        self.temperature = temperature
        self.loss_weight = loss_weight

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Compare two features.

        Args:
            student (Tensor): Logits, (N, K, H, W) or (N, K).
            teacher (Tensor): Logits, (N, K); its gradient is not taken.

        Returns:
            Tensor: Scalar, in float32.
        """
        student, teacher = (
            F.log_softmax(pooled(logits) / self.temperature, dim=1)
            for logits in (student, teacher.detach()))
        return self.loss_weight * self.temperature**2 * F.kl_div(
            student, teacher, reduction='batchmean', log_target=True)
