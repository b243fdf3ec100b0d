"""Distance between two features, element by element."""
import torch.nn.functional as F
from torch import Tensor, nn

from repfusion_mm.arguments.annotations import Weight
from repfusion_mm.registry import MODELS

from .pooled import pooled

DISTANCES = dict(l1=F.l1_loss, l2=F.mse_loss)


@MODELS.register_module()
class HintLoss(nn.Module):
    """Mean L1 or squared L2 distance of the student to the teacher.

    Args:
        distance (str): ``'l2'``, the mean squared difference, or ``'l1'``,
            the mean absolute one. Defaults to ``'l2'``.
        pool (bool): Compare global averages and not maps. Defaults to False.
        normalize (bool): Bring each feature vector (each position's, on maps)
            to unit length first. The mean is then taken over vectors and not
            over their elements, so that it does not shrink with the number of
            channels. Defaults to False.
        loss_weight (float): Factor of the loss. Defaults to 1.

    Source: Romero et al., "FitNets: Hints for Thin Deep Nets", ICLR 2015,
    equation 3.

    Example:
        >>> loss = dict(type='repfusion_mm.HintLoss', distance='l1',
        ...             loss_weight=10.)
    """

    def __init__(self,
                 distance: str = 'l2',
                 pool: bool = False,
                 normalize: bool = False,
                 loss_weight: Weight = 1.) -> None:
        super().__init__()
        if distance not in DISTANCES:
            raise ValueError(f'`loss.distance` is {distance!r}, expected one '
                             f'of {sorted(DISTANCES)}')
        self.distance = DISTANCES[distance]
        self.pool = pool
        self.normalize = normalize
        self.loss_weight = loss_weight

    @property
    def needs_maps(self) -> bool:
        """Whether it compares position by position, on maps of one size."""
        return not self.pool

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Compare two features.

        Args:
            student (Tensor): (N, C, H, W), or (N, C) if pooled.
            teacher (Tensor): As the student's; its gradient is not taken.

        Returns:
            Tensor: Scalar, in float32.
        """
        student, teacher = student.float(), teacher.detach().float()
        if self.pool:
            student, teacher = pooled(student), pooled(teacher)
        scale = self.loss_weight
        if self.normalize:
            scale *= student.size(1)
            student = F.normalize(student, dim=1)
            teacher = F.normalize(teacher, dim=1)
        return scale * self.distance(student, teacher)
