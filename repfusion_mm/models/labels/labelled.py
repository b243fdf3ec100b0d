"""Which samples of a batch are labelled, whatever library they are of."""
from typing import Any, List, Sequence

import torch
from torch import Tensor

from . import mmdet, mmpose, mmpretrain, mmseg
from .checks import UNLABELLED_PIXEL


def labelled_mask(data_samples: Sequence,
                  ignore_index: int = UNLABELLED_PIXEL) -> Tensor:
    """Whether each sample is labelled.

    One of mmpretrain is not where its ``gt_label`` is -1, whatever its
    ``gt_score``, or where its ``gt_score`` has a negative element. An empty
    ``gt_label`` is a label: it says that none of the classes applies. One of
    mmseg is not where its mask is nothing but the ignored index, and one of
    mmpose not where its keypoint weights are all zero, or, where the codec
    makes none, the visibility of its keypoints. One of mmdet is not where its
    meta information has ``unlabelled=True``: without boxes alone it says that
    there is nothing in the image.

    Args:
        data_samples (Sequence): mmpretrain's, each with a ``gt_label`` of any
            length, a ``gt_score``, or both; mmseg's, with a ``gt_sem_seg``;
            mmpose's, with ``gt_instance_labels.keypoint_weights`` or
            ``gt_instances.keypoints_visible``; or mmdet's.
        ignore_index (int): What unlabelled pixels of a mask hold, as in
            ``decode_head.ignore_index``. Defaults to 255.

    Returns:
        Tensor: Bool, (N,).

    Raises:
        ValueError: If a sample has none of them.
    """
    marks: List[Any] = []
    for sample in data_samples:
        one = mmdet.mark(sample)
        if one is None:
            one = mmseg.mark(sample, ignore_index)
        marks.append(mmpose.mark(sample) if one is None else one)
    rest = [sample for sample, one in zip(data_samples, marks) if one is None]
    if rest:
        of_classes = iter(mmpretrain.marks(rest))
        marks = [next(of_classes) if one is None else one for one in marks]
    # visibilities stay in the host's memory, where weights go to the GPU
    device = max((one.device for one in marks),
                 key=lambda device: device.type != 'cpu')
    return torch.stack([one.to(device, non_blocking=True) for one in marks])


def note_labelled(data_samples: Sequence,
                  ignore_index: int = UNLABELLED_PIXEL) -> None:
    """Note on each sample whether it is labelled, while the host has it.

    Later a GPU would have to be waited for.

    Args:
        data_samples (Sequence): As for :func:`labelled_mask`; their meta
            information gets ``labelled``, a bool.
        ignore_index (int): As in :func:`labelled_mask`.

    Raises:
        ValueError: As :func:`labelled_mask`.
    """
    if data_samples:
        flags = labelled_mask(data_samples, ignore_index).tolist()
        for sample, labelled in zip(data_samples, flags):
            sample.set_metainfo(dict(labelled=labelled))


def any_label(sample: Any, ignore_index: int = UNLABELLED_PIXEL) -> Any:
    """An unlabelled sample with some label, which any loss can take.

    A loss that finds no label at all may divide by none. Of one that counts
    nothing the label does not matter.

    Args:
        sample (BaseDataElement): Of any library.
        ignore_index (int): As in :func:`labelled_mask`.

    Returns:
        BaseDataElement: A copy, or the sample itself, which stays as it is.
    """
    if mmdet.is_detection(sample):
        return sample  # of nothing in it all detectors learn
    if sample.get('gt_sem_seg') is not None:
        return mmseg.any_mask(sample, ignore_index)
    if type(sample).__name__ == 'PoseDataSample':
        return mmpose.any_keypoints(sample)
    return mmpretrain.any_class(sample)
