"""Where two features are active, whatever their channels say."""
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from repfusion_mm.arguments.annotations import Weight
from repfusion_mm.registry import MODELS


@MODELS.register_module()
class AttentionTransferLoss(nn.Module):
    """Mean squared difference of two attention maps.

    A feature's attention map is the sum over channels of its squares, divided
    by (the map's L2 norm over positions + 1e-6). The mean is taken over images
    and positions.

    Args:
        loss_weight (float): Factor of the loss, which is at most 2 / (H W)
            without it. Defaults to 1.

    Source: Zagoruyko and Komodakis, "Paying More Attention to Attention",
    ICLR 2017, section 3.1, with p = 2.

    Example:
        >>> loss = dict(type='repfusion_mm.AttentionTransferLoss',
        ...             loss_weight=1000.)
    """

    needs_maps = True

    def __init__(self, loss_weight: Weight = 1.) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Compare two features.

        Args:
            student (Tensor): (N, C, H, W).
            teacher (Tensor): (N, C', H, W), the channels need not be as many;
                its gradient is not taken.

        Returns:
            Tensor: Scalar, in float32.
        """
        return self.loss_weight * F.mse_loss(
            _attention(student), _attention(teacher.detach()))


def _attention(feature: Tensor) -> Tensor:
    """The attention map, (N, H * W)."""
    energy = feature.float().square().sum(1).flatten(1)
    return energy / (torch.linalg.vector_norm(energy, dim=1, keepdim=True) +
                     1e-6)
