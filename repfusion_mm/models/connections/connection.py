"""One student feature made to match one teacher feature."""
from typing import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from repfusion_mm.registry import MODELS

from ..utils.building import build_part


@MODELS.register_module()
class Connection(nn.Module):
    """A projector and a loss between one student tap and one teacher tap.

    The student's feature is projected to the teacher's width by a 1x1
    convolution (a linear layer for vectors) and handed to the loss. Where the
    loss compares maps, one of them is resized bilinearly to the other's size.
    The channels on both sides are found by themselves.

    Args:
        student_tap (str): Module path in the student, or ``out.<i>``.
        teacher_tap (str): Module path in the teacher's denoiser.
        resize (str): What is resized where maps are compared, ``'student'``
            (as published) or ``'teacher'``. Defaults to ``'student'``.
        loss (dict): A feature loss. Defaults to the L2 :class:`HintLoss`.
        student_shape (Sequence[int]): Shape of the student's feature without
            the batch, (C, H, W) or (C,). Set by the model.
        teacher_shape (Sequence[int]): Likewise the teacher's.

    Raises:
        ValueError: If the loss compares maps and the student's feature has
            none.

    Example:
        >>> connection = dict(
        ...     student_tap='out.-1',
        ...     teacher_tap='mid_block.resnets.1.conv2',
        ...     loss=dict(type='repfusion_mm.HintLoss', pool=True))
    """

    def __init__(self,
                 student_tap: str,
                 teacher_tap: str,
                 student_shape: Sequence[int],
                 teacher_shape: Sequence[int],
                 loss: dict = dict(type='repfusion_mm.HintLoss'),
                 resize: str = 'student') -> None:
        super().__init__()
        if resize not in ('student', 'teacher'):
            raise ValueError(f'`connections.resize` is {resize!r}, expected '
                             '\'student\' or \'teacher\'')
        self.resize = resize
        self.student_tap = student_tap
        self.teacher_tap = teacher_tap
        # losses with weights of their own ask for the channels
        self.loss = build_part('loss', loss,
                               channels=teacher_shape[0])
        if not hasattr(self.loss, 'needs_maps'):
            raise ValueError(
                f'`connections.loss` is a {type(self.loss).__name__}, which '
                'compares no features; expected one of ours such as '
                'repfusion_mm.HintLoss, or of your own with a `needs_maps`')
        if len(student_shape) not in (1, 3) or \
                (self.loss.needs_maps and len(student_shape) != 3):
            raise ValueError(
                f'`connections.student_tap` {student_tap!r} gives features of '
                f'shape {tuple(student_shape)}, but '
                f'{type(self.loss).__name__} needs a map (C, H, W)'
                + ('' if self.loss.needs_maps else ' or a vector (C,)')
                + '; tap a layer before the pooling')
        if len(teacher_shape) not in (1, 3) or \
                (self.loss.needs_maps and len(teacher_shape) != 3):
            raise ValueError(
                f'`connections.teacher_tap` {teacher_tap!r} gives features of '
                f'shape {tuple(teacher_shape)}, but '
                f'{type(self.loss).__name__} needs a map (C, H, W); set '
                '`pool=True` in a HintLoss, or tap a layer before the pooling')
        self.projector = nn.Conv2d(student_shape[0], teacher_shape[0], 1) \
            if len(student_shape) == 3 else \
            nn.Linear(student_shape[0], teacher_shape[0])

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """How far the student's feature is from the teacher's.

        Args:
            student (Tensor): (N, C_s, H, W) or (N, C_s).
            teacher (Tensor): (N, C_t, h, w), or (N, C_t) if the loss needs no
                maps.

        Returns:
            Tensor: Scalar loss.
        """
        student = self.projector(student)
        if self.loss.needs_maps and student.shape[2:] != teacher.shape[2:]:
            if self.resize == 'student':
                student = _resized(student, teacher)
            else:
                teacher = _resized(teacher, student)
        return self.loss(student, teacher)


def _resized(feature: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(feature.float(), like.shape[2:], mode='bilinear',
                         align_corners=False)
