"""A time step is worth what a classifier can do with z(t)."""
from typing import Dict, Optional, Sequence, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from repfusion_mm.registry import MODELS

from ..labels import class_labels, label_ranks


@MODELS.register_module()
class ClassificationReward(nn.Module):
    """Minus the cross-entropy of a small classifier on the teacher's feature.

    The classifier, an MLP on the globally pooled tap, is trained along with
    the student. Unlabelled samples (label -1) have no reward and teach it
    nothing.

    With few labels a classifier soon knows its images by heart: every t is
    then worth the same, and the policy stops learning. With ``folds`` there
    are several classifiers, each of which never learns from one fold of the
    labelled images and rewards just these, so that a reward says what z(t)
    is worth on images that are new.

    Args:
        num_classes (int): Number of classes.
        tap (str, optional): The teacher tap that is read. Defaults to the
            first one.
        hidden (Sequence[int]): Widths of the hidden layers. Defaults to
            (256, 256), as published for CIFAR-10.
        folds (int): Number of folds; 1 rewards the images that are learned
            from, as published. More need ``label_rank`` in the data samples,
            which :class:`FewLabels` gives and ``PackInputs`` packs with
            ``meta_keys=('label_rank', )``. Defaults to 1.
        loss_weight (float): Weight of the classifier's own loss. Defaults
            to 1.
        feature_shapes (dict[str, Sequence[int]]): Shape of each teacher
            feature without the batch. Set by the model.

    Source: Yang and Wang, ICCV 2023, section 3.2; the folds are ours.

    Example:
        >>> reward = dict(type='repfusion_mm.ClassificationReward',
        ...               num_classes=10)
    """

    def __init__(self,
                 num_classes: int,
                 feature_shapes: Dict[str, Sequence[int]],
                 tap: Optional[str] = None,
                 hidden: Sequence[int] = (256, 256),
                 folds: int = 1,
                 loss_weight: float = 1.) -> None:
        super().__init__()
        if num_classes < 2:
            raise ValueError('`reward.num_classes` must be at least 2, got '
                             f'{num_classes}')
        if folds < 1:
            raise ValueError(f'`reward.folds` must be at least 1, got {folds}')
        self.tap = tap or next(iter(feature_shapes))
        self.loss_weight = loss_weight
        widths = [feature_shapes[self.tap][0], *hidden]
        self.classifiers = nn.ModuleList(
            _mlp(widths, num_classes) for _ in range(folds))

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
            the classifiers' own loss, ``loss_reward``.
        """
        labels = class_labels(data_samples)
        mask = labels >= 0
        pooled = features[self.tap].flatten(2).mean(2)
        entropies = torch.stack([
            F.cross_entropy(classifier(pooled).float(), labels.clamp(min=0),
                            reduction='none')
            for classifier in self.classifiers])
        folds = len(self.classifiers)
        if folds == 1:
            judged = learned = mask[None]
        else:
            fold = label_ranks(data_samples).to(labels.device) % folds
            own = fold == torch.arange(folds, device=fold.device)[:, None]
            judged, learned = own & mask, ~own & mask
        # unlabelled: zero times the output, so that DDP sees every gradient
        loss = (entropies * learned).sum() / learned.sum().clamp(min=1)
        reward = -(entropies.detach() * judged).sum(0)
        return reward, mask, dict(loss_reward=self.loss_weight * loss)

    def check_dataset(self, dataset) -> None:
        """Make sure, before training, that there are labels to reward by.

        Args:
            dataset: Of the training; one without ``get_data_info`` is not
                looked at.

        Raises:
            ValueError: If no image has a label, or the labelled images of a
                class are fewer than the folds.
        """
        if not hasattr(dataset, 'get_data_info'):
            return
        folds = len(self.classifiers)
        ranks: Dict[int, set] = {}
        for index in range(len(dataset)):
            info = dataset.get_data_info(index)
            label = info.get('gt_label')
            if label is None or label == -1:
                continue
            if folds == 1:
                return
            ranks.setdefault(label, set()).add(info.get('label_rank'))
        if not ranks:
            raise ValueError(
                'ClassificationReward needs some labelled images, but none of '
                '`train_dataloader.dataset` has a label; leave out `reward` '
                'and use FixedTime or UniformTime')
        for label, found in ranks.items():
            if len(found) < folds:
                raise ValueError(
                    f'`reward.folds` is {folds}, but class {label} has only '
                    f'{len(found)} labelled image(s) with a `label_rank`; '
                    'wrap the labelled images in repfusion_mm.FewLabels, or '
                    'use fewer folds')


def _mlp(widths: Sequence[int], num_classes: int) -> nn.Sequential:
    layers = []
    for width, units in zip(widths, widths[1:]):
        layers += [nn.Linear(width, units), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(widths[-1], num_classes))
