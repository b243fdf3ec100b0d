"""Boxes of mmdet's data samples."""
from typing import Any, Optional

import torch
from torch import Tensor

from .checks import check_classes, file_of


def is_detection(sample: Any) -> bool:
    """Whether a sample is one of mmdet.

    Args:
        sample (BaseDataElement): Of any library.

    Returns:
        bool: Whether it is.
    """
    return type(sample).__name__ == 'DetDataSample'


def mark(sample: Any) -> Optional[Tensor]:
    """Whether it is known what is in an image; it may be nothing.

    An image without boxes is one of which is known that there is nothing in
    it, unless ``unlabelled`` is True in its meta information.

    Args:
        sample (BaseDataElement): Of any library.

    Returns:
        Tensor, optional: Bool, (); None for a sample of another library.

    Raises:
        ValueError: If it has boxes and says that they are unknown, as a
            mosaic of labelled and unlabelled images does.
    """
    if not is_detection(sample):
        return None
    unlabelled = bool(sample.get('unlabelled', False))
    if unlabelled and len(sample.get('gt_instances', ())):
        raise ValueError(
            f'{file_of(sample)} is `unlabelled` and has '
            f'{len(sample.gt_instances)} boxes: a transform has put labelled '
            'and unlabelled images into one. Put what makes one image of '
            'several (mosaic, mixup) around or into the data set of each part '
            'of FewLabels, and ConcatDataset around both')
    return torch.tensor(not unlabelled)


def check_boxes(sample: Any, num_classes: int, key: str) -> None:
    """Refuse boxes of no class; those on a GPU pass.

    Args:
        sample (BaseDataElement): Of any library; without boxes it passes.
        num_classes (int): Classes are 0 to ``num_classes`` - 1.
        key (str): The config key of what has this number.

    Raises:
        ValueError: If there is another class. The file is named.
    """
    labels = sample.get('gt_instances', {}).get('labels')
    if is_detection(sample) and labels is not None:
        check_classes(labels, num_classes, key, file_of(sample),
                      name='gt_instances.labels', least=0)
