"""A time step is worth what a classifier can do with z(t)."""
from typing import Dict, Optional, Sequence, Tuple

import torch.nn.functional as F
from torch import Tensor, nn

from repfusion_mm.registry import MODELS

from ..labels import class_labels


@MODELS.register_module()
class ClassificationReward(nn.Module):
    """Minus the cross-entropy of a small classifier on the teacher's feature.

    The classifier, an MLP on the globally pooled tap, is trained along with
    the student. Unlabelled samples (label -1) have no reward and teach it
    nothing. :class:`TimeSamplerHook` checks before training that there are
    labels.

    With few labels an MLP soon knows its images by heart: every t is then
    worth the same, and the policy stops learning. A linear classifier,
    ``hidden=()``, tells good t from bad ones for longer.

    Args:
        num_classes (int): Number of classes.
        tap (str, optional): The teacher tap that is read. Defaults to the
            first one.
        hidden (Sequence[int]): Widths of the hidden layers. Defaults to
            (256, 256), as published for CIFAR-10; ``()`` is a linear
            classifier.
        loss_weight (float): Weight of the classifier's own loss. Defaults
            to 1.
        feature_shapes (dict[str, Sequence[int]]): Shape of each teacher
            feature without the batch. Set by the model.

    Source: Yang and Wang, ICCV 2023, section 3.2.

    Example:
        >>> reward = dict(type='repfusion_mm.ClassificationReward',
        ...               num_classes=10)
    """

    def __init__(self,
                 num_classes: int,
                 feature_shapes: Dict[str, Sequence[int]],
                 tap: Optional[str] = None,
                 hidden: Sequence[int] = (256, 256),
                 loss_weight: float = 1.) -> None:
        super().__init__()
        if num_classes < 2:
            raise ValueError('`reward.num_classes` must be at least 2, got '
                             f'{num_classes}')
        self.tap = tap or next(iter(feature_shapes))
        self.num_classes = num_classes
        self.loss_weight = loss_weight
        layers, width = [], feature_shapes[self.tap][0]
        for units in hidden:
            layers += [nn.Linear(width, units), nn.ReLU()]
            width = units
        self.classifier = nn.Sequential(*layers, nn.Linear(width, num_classes))

    def forward(
        self,
        images: Tensor,
        features: Dict[str, Tensor],
        data_samples: Sequence,
        student_features: Dict[str, Tensor],
    ) -> Tuple[Tensor, Tensor, Dict[str, Tensor]]:
        """What the time steps behind some features were worth.

        Args:
            images (Tensor): Raw images, (N, 3, H, W).
            features (dict[str, Tensor]): The teacher's, by tap.
            data_samples (Sequence[DataSample]): With ``gt_label``.
            student_features (dict[str, Tensor]): The student's, by tap.

        Returns:
            tuple: The reward (N,), the mask (N,) of the labelled samples, and
            the classifier's own loss, ``loss_reward``.
        """
        labels = class_labels(data_samples)
        mask = labels >= 0
        pooled = features[self.tap].flatten(2).mean(2)
        # unlabelled: zero times the output, so that DDP sees every gradient
        entropies = F.cross_entropy(
            self.classifier(pooled).float(), labels.clamp(min=0),
            reduction='none') * mask
        loss = entropies.sum() / mask.sum().clamp(min=1)
        return -entropies.detach(), mask, dict(
            loss_reward=self.loss_weight * loss)

    def check_dataset(self, dataset) -> None:
        """Make sure, before training, that there are labels to reward by.

        Args:
            dataset: Of the training; one without ``get_data_info`` is not
                looked at.

        Raises:
            ValueError: If no image has a label, or there are more classes
                than ``num_classes``.
        """
        if not hasattr(dataset, 'get_data_info'):
            return
        classes = getattr(dataset, 'metainfo', {}).get('classes') or ()
        if len(classes) > self.num_classes:
            raise ValueError(
                f'`reward.num_classes` is {self.num_classes}, but the data '
                f'set has {len(classes)} classes')
        labels = (dataset.get_data_info(index).get('gt_label')
                  for index in range(len(dataset)))
        if all(label is None or label == -1 for label in labels):
            raise ValueError(
                'ClassificationReward needs some labelled images, but none of '
                '`train_dataloader.dataset` has a label; leave out `reward` '
                'and use FixedTime or UniformTime')
