"""Squared differences, weighted by what a small network makes of a channel."""
import torch
from torch import Tensor, nn

from repfusion_mm.arguments.annotations import Count, Weight
from repfusion_mm.registry import MODELS

from .pooled import pooled


@MODELS.register_module()
class AttentiveFeatureLoss(nn.Module):
    """L2 distance with a learnt weight for each channel and image.

    loss = mean over images of sum_c rho_c * mean over positions of
    (s_c - t_c)^2, where rho = softmax_c(W2 relu(W1 pool(t) + b1) + b2). The
    features are compared as they are, not normalised. With equal weights it is
    the L2 :class:`HintLoss`.

    rho is trained by this very loss, as in the paper, and nothing in it makes
    rho say which channels are useful: the loss also falls when the weight
    moves to channels that hardly vary or are matched already. All that holds
    it back is that rho sees the teacher's feature only, not the difference,
    and that the weights sum to one; the paper has the loss of the task beside
    it. So compare students by what they can do, not by this loss's value.

    The network is a bottleneck on the pooled feature, after squeeze and
    excitation, and not the paper's own.

    Args:
        channels (int): Of the teacher's feature. Set by the connection.
        hidden (int): Width of the bottleneck. Defaults to 64.
        loss_weight (float): Factor of the loss. Defaults to 1.

    Source: Wang et al., "Pay Attention to Features, Transfer Learn Faster
    CNNs", ICLR 2020; the bottleneck: Hu et al., "Squeeze-and-Excitation
    Networks", CVPR 2018.

    Example:
        >>> loss = dict(type='repfusion_mm.AttentiveFeatureLoss')
    """

    needs_maps = True

    def __init__(self,
                 channels: Count,
                 hidden: Count = 64,
                 loss_weight: Weight = 1.) -> None:
        super().__init__()
        self.attention = nn.Sequential(
            nn.Linear(channels, hidden), nn.ReLU(),
            nn.Linear(hidden, channels))
        self.loss_weight = loss_weight

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Compare two features.

        Args:
            student (Tensor): (N, C, H, W).
            teacher (Tensor): As the student's; its gradient is not taken.

        Returns:
            Tensor: Scalar, in float32.
        """
        student, teacher = student.float(), teacher.detach().float()
        # linear layers would be in low precision
        with torch.autocast(student.device.type, enabled=False):
            rho = self.attention(pooled(teacher)).softmax(1)
        differences = pooled((student - teacher).square())
        return self.loss_weight * (rho * differences).sum(1).mean()
