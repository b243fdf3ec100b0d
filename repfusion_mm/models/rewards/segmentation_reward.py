"""A time step is worth what a classifier of pixels can do with z(t)."""
from typing import Any, Dict, Optional, Sequence

import torch.nn.functional as F
from torch import nn

from repfusion_mm.arguments.annotations import Weight
from repfusion_mm.registry import MODELS

from ..labels import check_masks, semantic_masks
from ..labels.dataset_checks import check_num_classes
from ..utils.all_processes import masked_mean
from .base import Judgement, Reward, RewardInputs


@MODELS.register_module()
class SegmentationReward(Reward):
    """Minus the cross-entropy of a pixel classifier on the teacher's feature.

    The classifier, a 1x1 convolution whose logits are enlarged bilinearly to
    the mask, is trained along with the student. An image's cross-entropy is
    the mean over its labelled pixels. Unlabelled images (a mask of nothing
    but ``ignore_index``) have no reward and teach it nothing.

    The logits at the mask's size take (N, num_classes, H, W) floats a few
    times over: for 8 images of 448x448 and 18 classes, 110 MiB each time.

    Args:
        num_classes (int): Number of classes, at least 2.
        tap (str, optional): The teacher tap that is read, a map. Defaults to
            the first one.
        ignore_index (int): What the masks hold where a pixel is unlabelled.
            Defaults to 255, as in mmseg.
        loss_weight (float): Weight of the classifier's own loss. Defaults
            to 1.
        feature_shapes (dict[str, Sequence[int]]): Shape of each teacher
            feature without the batch. Set by the model.

    Raises:
        ValueError: If there are too few classes, or the tap is no map.

    Source: Yang and Wang, ICCV 2023, section 3.2; a 1x1 convolution, as a
    linear probe of each position.

    Example:
        >>> reward = dict(type='repfusion_mm.SegmentationReward',
        ...               num_classes=19)
    """
    def __init__(self,
                 num_classes: int,
                 feature_shapes: Dict[str, Sequence[int]],
                 tap: Optional[str] = None,
                 ignore_index: int = 255,
                 loss_weight: Weight = 1.) -> None:
        super().__init__()
        check_num_classes(num_classes)
        self.tap = tap or next(iter(feature_shapes))
        self.num_classes = num_classes
        self.ignore_index = ignore_index
        self.loss_weight = loss_weight
        self.classifier = nn.Conv2d(map_width(feature_shapes, self.tap),
                                    num_classes, 1)

    def forward(self, inputs: RewardInputs) -> Judgement:
        """What the time steps behind some features were worth.

        Args:
            inputs (RewardInputs): With data samples of mmseg that have a
                ``gt_sem_seg`` of (1, H, W).

        Returns:
            tuple: The reward (N,), the mask (N,) of the images with a
            labelled pixel, and the classifier's own loss, ``loss_reward``.

        Raises:
            ValueError: If a mask is missing, they differ in size or, on a
                CPU, one holds what is no class.
        """
        masks = semantic_masks(inputs.data_samples, self.num_classes,
                               self.ignore_index)
        logits = self.classifier(inputs.teacher[self.tap].float()).float()
        logits = F.interpolate(logits, masks.shape[1:], mode='bilinear',
                               align_corners=False)
        # ignored pixels: zero times the output, so that DDP sees every
        # gradient
        entropies = F.cross_entropy(logits, masks, reduction='none',
                                    ignore_index=self.ignore_index)
        pixels = (masks != self.ignore_index).sum((1, 2))
        entropies = entropies.sum((1, 2)) / pixels.clamp(min=1)
        mask = pixels > 0
        return -entropies.detach(), mask, dict(
            loss_reward=self.loss_weight * masked_mean(entropies, mask))

    def check_dataset(self, dataset: Any) -> None:
        """Make sure, before training, that the classes are known.

        The masks are not opened.

        Args:
            dataset: Of the training; one without ``metainfo`` is not looked
                at.

        Raises:
            ValueError: If there are more classes than ``num_classes``.
        """
        classes = getattr(dataset, 'metainfo', {}).get('classes') or ()
        if len(classes) > self.num_classes:
            raise ValueError(
                f'`reward.num_classes` is {self.num_classes}, but the data '
                f'set has {len(classes)} classes')

    def check_samples(self, data_samples: Sequence) -> None:
        """Make sure, before a step, that the masks hold classes.

        Args:
            data_samples (Sequence[SegDataSample]): Of a batch, in the host's
                memory.

        Raises:
            ValueError: If one does not. The file and the ids are named.
        """
        check_masks(data_samples, self.num_classes, self.ignore_index)


def map_width(feature_shapes: Dict[str, Sequence[int]], tap: str) -> int:
    """Channels of a teacher tap that is read position by position.

    Args:
        feature_shapes (dict[str, Sequence[int]]): Shape of each teacher
            feature without the batch.
        tap (str): The tap.

    Returns:
        int: The channels.

    Raises:
        ValueError: If the tap is no map.
    """
    shape = tuple(feature_shapes[tap])
    if len(shape) != 3:
        raise ValueError(f'`reward.tap` is {tap!r} of shape {shape}, expected '
                         'a map of (channels, height, width); tap another '
                         'module')
    return shape[0]
