"""A time step is worth what a classifier can do with z(t)."""
from typing import Dict, Optional, Sequence

import torch.nn.functional as F
from torch import nn

from repfusion_mm.arguments.annotations import Count, Weight
from repfusion_mm.registry import MODELS

from ..labels import class_labels, multi_hot_labels
from ..losses.pooled import pooled
from ..utils.all_processes import masked_mean
from .base import ClassReward, Judgement, RewardInputs


@MODELS.register_module()
class ClassificationReward(ClassReward):
    """Minus the cross-entropy of a small classifier on the teacher's feature.

    The classifier, an MLP on the globally pooled tap, is trained along with
    the student. Unlabelled samples (label -1) have no reward and teach it
    nothing. :class:`TimeSamplerHook` checks before training that there are
    labels.

    With few labels an MLP soon knows its images by heart: every t is then
    worth the same, and the policy stops learning. A linear classifier,
    ``hidden=()``, tells good t from bad ones for longer.

    Args:
        num_classes (int): Number of classes: at least 2, or 1 if
            ``multi_label``.
        tap (str, optional): The teacher tap that is read. Defaults to the
            first one.
        hidden (Sequence[int]): Widths of the hidden layers. Defaults to
            (256, 256), as published for CIFAR-10; ``()`` is a linear
            classifier.
        loss_weight (float): Weight of the classifier's own loss. Defaults
            to 1.
        multi_label (bool): Whether several classes, or none, may apply to an
            image: the cross-entropy is then the binary one of each class,
            averaged over the classes. Labels as for
            :func:`multi_hot_labels`. Defaults to False.
        feature_shapes (dict[str, Sequence[int]]): Shape of each teacher
            feature without the batch. Set by the model.

    Raises:
        ValueError: If there are too few classes.

    Source: Yang and Wang, ICCV 2023, section 3.2.

    Example:
        >>> reward = dict(type='repfusion_mm.ClassificationReward',
        ...               num_classes=10)
    """
    def __init__(self,
                 num_classes: int,
                 feature_shapes: Dict[str, Sequence[int]],
                 tap: Optional[str] = None,
                 hidden: Sequence[Count] = (256, 256),
                 loss_weight: Weight = 1.,
                 multi_label: bool = False) -> None:
        super().__init__(num_classes, multi_label)
        self.tap = tap or next(iter(feature_shapes))
        self.loss_weight = loss_weight
        layers, width = [], feature_shapes[self.tap][0]
        for units in hidden:
            layers += [nn.Linear(width, units), nn.ReLU()]
            width = units
        self.classifier = nn.Sequential(*layers, nn.Linear(width, num_classes))

    def forward(self, inputs: RewardInputs) -> Judgement:
        """What the time steps behind some features were worth.

        Args:
            inputs (RewardInputs): With data samples of mmpretrain that have
                a ``gt_label``, or a ``gt_score`` if ``multi_label``.

        Returns:
            tuple: The reward (N,), the mask (N,) of the labelled samples, and
            the classifier's own loss, ``loss_reward``.

        Raises:
            ValueError: If a sample's label is missing or, on a CPU, no class.
        """
        logits = self.classifier(pooled(inputs.teacher[self.tap])).float()
        if self.multi_label:
            labels, mask = multi_hot_labels(inputs.data_samples,
                                            self.num_classes)
            entropies = F.binary_cross_entropy_with_logits(
                logits, labels, reduction='none').mean(1)
        else:
            labels = class_labels(inputs.data_samples, self.num_classes)
            mask = labels >= 0
            entropies = F.cross_entropy(logits, labels.clamp(min=0),
                                        reduction='none')
        # unlabelled: zero times the output, so that DDP sees every gradient
        entropies = entropies * mask
        return -entropies.detach(), mask, dict(
            loss_reward=self.loss_weight * masked_mean(entropies, mask))
