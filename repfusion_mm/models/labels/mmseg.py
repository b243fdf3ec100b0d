"""Masks of mmseg's data samples."""
import copy
from typing import Any, Optional, Sequence

import torch
from torch import Tensor

from .checks import UNLABELLED_PIXEL, check_masks, file_of
from .mask_ids import mask_ids

NO_MASK = ('each data sample must hold a `gt_sem_seg` (nothing but the '
           'ignored index, 255 by default, where the image is unlabelled): '
           'put `LoadAnnotations` before `PackSegInputs` in the pipeline of '
           'mmseg')


def semantic_masks(data_samples: Sequence,
                   num_classes: Optional[int] = None,
                   ignore_index: int = UNLABELLED_PIXEL) -> Tensor:
    """Class index of each pixel of each sample.

    Args:
        data_samples (Sequence[SegDataSample]): mmseg's, each with a
            ``gt_sem_seg`` of (1, H, W).
        num_classes (int, optional): Of the reward that reads the masks: on a
            CPU, pixels of classes beyond it are refused. Defaults to None.
        ignore_index (int): What unlabelled pixels hold. Defaults to 255.

    Returns:
        Tensor: Long, (N, H, W).

    Raises:
        ValueError: If a sample has no ``gt_sem_seg``, if they differ in size,
            or if one holds what is no class.
    """
    masks = []
    for sample in data_samples:
        mask = sample.get('gt_sem_seg')
        if mask is None:
            raise ValueError(f'{NO_MASK}; {file_of(sample)} has none')
        masks.append(mask.data)
    if num_classes is not None:
        check_masks(data_samples, num_classes, ignore_index)
    sizes = {tuple(mask.shape) for mask in masks}
    if len(sizes) > 1 or next(iter(sizes))[0] != 1:
        raise ValueError(
            'the `gt_sem_seg` of a batch must all be of one shape (1, H, W), '
            f'got {sorted(sizes)}; `size` or `size_divisor` of '
            'mmseg.SegDataPreProcessor pads images and masks alike')
    return torch.cat(masks).long()


def mark(sample: Any, ignore_index: int) -> Optional[Tensor]:
    """Whether a mask has a pixel that is not ignored.

    Args:
        sample (BaseDataElement): Of any library.
        ignore_index (int): What unlabelled pixels hold.

    Returns:
        Tensor, optional: Bool, (); None for a sample without a mask.

    Raises:
        ValueError: If it is mmseg's, and has no mask.
    """
    mask = sample.get('gt_sem_seg')
    if mask is not None:
        if mask.data.device.type == 'cpu':
            return torch.tensor(
                any(one != ignore_index for one in mask_ids(mask.data)))
        return (mask.data != ignore_index).any()
    if type(sample).__name__ == 'SegDataSample':
        raise ValueError(f'{NO_MASK}; {file_of(sample)} has none')
    return None


def any_mask(sample: Any, ignore_index: int) -> Any:
    """A copy of a sample, every pixel of which is of some class.

    Args:
        sample (SegDataSample): With a ``gt_sem_seg``.
        ignore_index (int): What no pixel may hold.

    Returns:
        SegDataSample: The copy.
    """
    sample, mask = copy.copy(sample), copy.copy(sample.gt_sem_seg)
    mask.data = torch.full_like(mask.data, int(ignore_index == 0))
    sample.gt_sem_seg = mask
    return sample
