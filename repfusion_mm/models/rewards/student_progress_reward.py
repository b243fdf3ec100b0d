"""A time step is worth how much its z(t) helps the student's own task."""
from typing import Any, Dict, Optional, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from repfusion_mm.registry import MODELS

from ..labels import class_labels
from ..losses.pooled import pooled
from ..utils.all_processes import masked_mean
from ..utils.compiling import allow_second_backward
from ..utils.nearest import nearest
from .base import ClassReward, Judgement, RewardInputs


@MODELS.register_module()
class StudentProgressReward(ClassReward):
    """Whether following z(t) also takes the student closer to the label.

    A linear classifier on the globally pooled student tap is trained along
    with the student, whose feature it does not change. With s the student's
    feature of an image, the reward is the cosine between the step that the
    feature losses ask of it, -d loss_feature / d s, and the step that the
    cross-entropy of this classifier asks of it: 1 if following the teacher is
    all that the task wants, 0 if it does nothing for the task, below 0 if it
    hurts it, to first order.

    The published code takes the student's task loss on the previous batch
    instead. That is one number for a batch, and credits the t of this step
    with what the last one's did; the cosine is of this step and of each
    image. It costs one pass back through the connections, and through what
    of the student lies behind ``student_tap``.

    Args:
        num_classes (int): Number of classes, at least 2.
        student_tap (str, optional): The student tap that is read, one of the
            connections'. Defaults to the first one.
        student_shapes (dict[str, Sequence[int]]): Shape of each student
            feature without the batch. Set by the model.

    Raises:
        ValueError: If there are too few classes, or no connection has the
            student tap.

    Source: Du et al., "Adapting Auxiliary Losses Using Gradient Similarity",
    2018.

    Example:
        >>> reward = dict(type='repfusion_mm.StudentProgressReward',
        ...               num_classes=10)
    """
    # The head reads the student. But the student follows the teacher: of a
    # teacher that is told the label, the t that gives most of it away would
    # win.
    reads_labels = True

    def __init__(self,
                 num_classes: int,
                 student_shapes: Dict[str, Sequence[int]],
                 student_tap: Optional[str] = None) -> None:
        super().__init__(num_classes)
        allow_second_backward()  # of the losses, after the reward's own
        self.student_tap = student_tap or next(iter(student_shapes))
        if self.student_tap not in student_shapes:
            raise ValueError(
                f'`reward.student_tap` is {student_tap!r}, expected a student '
                'tap of `connections`; nearest: '
                f'{nearest(self.student_tap, student_shapes)}')
        self.classifier = nn.Linear(student_shapes[self.student_tap][0],
                                    num_classes)

    def forward(self, inputs: RewardInputs) -> Judgement:
        """What the time steps behind some features were worth.

        Args:
            inputs (RewardInputs): With data samples of mmpretrain that have
                a ``gt_label``, and with ``loss_feature``, whose graph is
                kept.

        Returns:
            tuple: The reward (N,), from -1 to 1, the mask (N,) of the
            labelled samples, and the classifier's own loss, ``loss_reward``.
            Without gradients (in evaluation) the mask is of none.

        Raises:
            ValueError: If a sample's label is missing or, on a CPU, no class.
        """
        labels = class_labels(inputs.data_samples, self.num_classes)
        mask = labels >= 0
        feature = inputs.student[self.student_tap]
        with torch.autocast(feature.device.type, enabled=False):
            logits = self.classifier(pooled(feature.detach()))
            # unlabelled: zero times the output, so that DDP sees it
            entropies = F.cross_entropy(
                logits, labels.clamp(min=0), reduction='none') * mask
            loss = masked_mean(entropies, mask)
            wanted = self._task_gradient(logits, labels)
        loss_feature: Any = inputs.loss_feature  # None only if in evaluation
        if not (feature.requires_grad and loss_feature.requires_grad):
            return loss.new_zeros(len(mask)), mask & False, \
                dict(loss_reward=loss)
        # the scale is nothing to the cosine, but a mean over all elements
        # has gradients that float16 rounds to zero
        with torch.autocast(feature.device.type, enabled=False):
            given, = torch.autograd.grad(
                loss_feature * feature.numel(), feature,
                retain_graph=True)
        given = _positions(given)
        # of the two gradients, as it is of the two steps against them
        cosine = F.cosine_similarity(
            given.flatten(1),
            wanted[..., None].expand_as(given).flatten(1))
        mask = mask & cosine.isfinite()  # float16 may still overflow
        return torch.where(mask, cosine, torch.zeros_like(cosine)), mask, \
            dict(loss_reward=loss)

    @torch.no_grad()
    def _task_gradient(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Gradient of each image's cross-entropy in its pooled feature.

        In closed form, (softmax - one-hot) W. At each position of the map it
        is the same, but for the factor of the mean.

        Args:
            logits (Tensor): (N, num_classes).
            labels (Tensor): (N,); what comes out for -1 means nothing.

        Returns:
            Tensor: (N, C).
        """
        classes = torch.arange(self.num_classes, device=labels.device)
        errors = logits.softmax(1) - (labels[:, None] == classes).float()
        return errors @ self.classifier.weight


def _positions(feature: Tensor) -> Tensor:
    """A map or a vector as float32, (N, C, positions)."""
    return feature.float().reshape(*feature.shape[:2], -1)
