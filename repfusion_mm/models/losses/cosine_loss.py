"""The angle between two features."""
from torch import Tensor, nn

from repfusion_mm.arguments.annotations import Weight
from repfusion_mm.registry import MODELS

from .pooled import pooled
from .unit_vectors import unit_vectors


@MODELS.register_module()
class CosineLoss(nn.Module):
    """Mean of 1 - cos(student, teacher), from 0 to 2.

    Half of ``HintLoss(normalize=True)``, except that a zero vector has the
    cosine 0 with everything.

    Args:
        pool (bool): Compare global averages and not the vector of each
            position. Defaults to False.
        loss_weight (float): Factor of the loss. Defaults to 1.

    Example:
        >>> loss = dict(type='repfusion_mm.CosineLoss', pool=True)
    """

    def __init__(self, pool: bool = False, loss_weight: Weight = 1.) -> None:
        super().__init__()
        self.pool = pool
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
        cosine = unit_vectors(student, 1) * unit_vectors(teacher, 1)
        return self.loss_weight * (1 - cosine.sum(1)).mean()
