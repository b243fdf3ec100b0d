"""Classes of mmpretrain's data samples."""
import copy
from typing import Any, List, Optional, Sequence, Tuple

import torch
from torch import Tensor

from .checks import check_classes


def class_labels(data_samples: Sequence,
                 num_classes: Optional[int] = None) -> Tensor:
    """Class index of each sample, -1 where it is unlabelled.

    Args:
        data_samples (Sequence[DataSample]): mmpretrain's data samples, each
            with a ``gt_label`` of one element.
        num_classes (int, optional): Of the reward that reads the labels: on a
            CPU, labels beyond it are refused. Defaults to None.

    Returns:
        Tensor: Long, (N,).

    Raises:
        ValueError: If a sample has no ``gt_label``, or more than one, or one
            that is no class.
    """
    for sample in data_samples:
        label = sample.get('gt_label')
        if label is None or label.numel() != 1:
            raise ValueError(
                'each data sample must hold one `gt_label` (-1 where the '
                f'image is unlabelled), got {label}; for images without '
                'labels wrap the data set in repfusion_mm.FewLabels')
    labels = torch.cat([sample.gt_label for sample in data_samples])
    if num_classes is not None:
        check_classes(labels, num_classes)
    return labels


def multi_hot_labels(data_samples: Sequence,
                     num_classes: int) -> Tuple[Tensor, Tensor]:
    """Whether each class applies to each sample, for multi-label tasks.

    Args:
        data_samples (Sequence[DataSample]): mmpretrain's, each with a
            ``gt_score`` of one number from 0 to 1 for each class, or with a
            ``gt_label`` of all classes that apply, maybe none. Where both are
            there the scores count, as in mmpretrain's heads. Unlabelled as
            for :func:`labelled_mask`.
        num_classes (int): Number of classes.

    Returns:
        tuple: The labels, float32, (N, num_classes), zero where a sample is
        unlabelled, and the mask (N,) of the labelled ones.

    Raises:
        ValueError: If a sample has neither, scores of another length, or, on
            a CPU, a label that is no class.
    """
    indices, rows, scores, score_rows = _read(data_samples)
    check_classes(indices, num_classes)
    hits = indices[:, None] == torch.arange(num_classes, device=rows.device)
    hot = torch.zeros(len(data_samples), num_classes, device=rows.device)
    hot = hot.index_add(0, rows, hits.float()).clamp(max=1)
    for score in scores:
        if len(score) != num_classes:
            raise ValueError(
                f'`gt_score` has {len(score)} elements, but '
                f'`reward.num_classes` is {num_classes}')
    if scores:
        hot = hot.index_copy(0, score_rows, torch.stack(scores).float())
    mask = marks(data_samples)
    return hot * mask[:, None], mask


def marks(data_samples: Sequence) -> Tensor:
    """Whether each sample is labelled; see :func:`labelled_mask`.

    Args:
        data_samples (Sequence[DataSample]): mmpretrain's.

    Returns:
        Tensor: Bool, (N,).

    Raises:
        ValueError: If a sample has neither a ``gt_label`` nor a ``gt_score``.
    """
    indices, rows, scores, score_rows = _read(data_samples)
    negative = torch.zeros(len(data_samples), device=rows.device)
    negative = negative.index_add(0, rows, (indices < 0).float())
    if scores:
        negative = negative.index_add(
            0, score_rows, (torch.stack(scores) < 0).any(1).float())
    return negative == 0


def any_class(sample: Any) -> Any:
    """A copy of a sample, which is of some class.

    Args:
        sample (DataSample): With a ``gt_label``, a ``gt_score``, or both.

    Returns:
        DataSample: The copy.
    """
    sample = copy.copy(sample)
    if 'gt_label' in sample:
        sample.gt_label = torch.zeros_like(sample.gt_label)
    if 'gt_score' in sample:
        sample.gt_score = (torch.arange(
            len(sample.gt_score),
            device=sample.gt_score.device) == 0).to(sample.gt_score.dtype)
    return sample


def _read(data_samples: Sequence
          ) -> Tuple[Tensor, Tensor, List[Tensor], Tensor]:
    """All class indices and scores of a batch, and whose they are.

    Returns:
        tuple: Class indices (M,), the sample (M,) of each, the score vectors
        (S of them) and the sample (S,) of each.
    """
    labels: List[Tensor] = []
    scores: List[Tensor] = []
    of_labels: List[int] = []
    of_scores: List[int] = []
    for row, sample in enumerate(data_samples):
        label, score = sample.get('gt_label'), sample.get('gt_score')
        if label is None and score is None:
            raise ValueError(
                'each data sample must hold a `gt_label` (-1 where the image '
                'is unlabelled) or a `gt_score`, got neither; for images '
                'without labels wrap the data set in repfusion_mm.FewLabels')
        if label is not None:
            labels.append(label)
            of_labels += [row] * label.numel()
        if score is not None:
            scores.append(score)
            of_scores.append(row)
    device = (labels + scores)[0].device
    # non_blocking: a GPU need not be waited for to be told who owns what
    rows, score_rows = (
        torch.tensor(owners, dtype=torch.long).to(device, non_blocking=True)
        for owners in (of_labels, of_scores))
    indices = torch.cat(labels) if labels else rows
    return indices, rows, scores, score_rows
