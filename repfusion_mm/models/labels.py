"""Which samples of a batch are labelled, and how."""
from typing import Sequence

import torch
from torch import Tensor


def class_labels(data_samples: Sequence) -> Tensor:
    """Class index of each sample, -1 where it is unlabelled.

    Args:
        data_samples (Sequence[DataSample]): mmpretrain's data samples, each
            with a ``gt_label`` of one element.

    Returns:
        Tensor: Long, (N,).

    Raises:
        ValueError: If a sample has no ``gt_label``, or more than one.
    """
    for sample in data_samples:
        label = sample.get('gt_label')
        if label is None or label.numel() != 1:
            raise ValueError(
                'each data sample must hold one `gt_label` (-1 where the '
                f'image is unlabelled), got {label}; for images without '
                'labels wrap the data set in repfusion_mm.FewLabels')
    return torch.cat([sample.gt_label for sample in data_samples])


def labelled_mask(data_samples: Sequence) -> Tensor:
    """Whether each sample is labelled.

    Args:
        data_samples (Sequence[DataSample]): As for :func:`class_labels`.

    Returns:
        Tensor: Bool, (N,).
    """
    return class_labels(data_samples) >= 0
