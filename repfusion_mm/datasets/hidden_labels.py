"""How an image that has a label is made to look as if it had none."""
from typing import Any, Callable, List, Optional

import numpy as np

from ..models.labels.mmdet import is_detection

UNLABELLED = -1


def classes_of(info: dict) -> Optional[List[int]]:
    """The classes of an image, by its annotation.

    Args:
        info (dict): Of a data set of mmpretrain, with ``gt_label``, one class
            or several or none, or with ``gt_score``, a number for each class;
            or of mmdet, with boxes in ``instances``.

    Returns:
        list[int], optional: Classes; empty if the image is unlabelled already.
        None if the annotation is of another kind.
    """
    if info.get('gt_label') is not None:
        labels = np.atleast_1d(info['gt_label'])
    elif info.get('gt_score') is not None:
        labels = np.flatnonzero(np.asarray(info['gt_score']) > 0)
    elif has_boxes(info):
        labels = np.unique([box['bbox_label'] for box in info['instances']
                            if not box.get('ignore_flag')]).astype(int)
    else:
        return None
    return [label for label in labels.tolist() if label >= 0]


def has_boxes(info: dict) -> bool:
    """Whether an annotation is one of mmdet, whose boxes may be none.

    Args:
        info (dict): As ``get_data_info`` of a data set gives it.

    Returns:
        bool: Whether it is.
    """
    return 'instances' in info and 'keypoints_visible' not in info


def hide_labels(info: dict, ignore_index: int) -> dict:
    """Hides what an annotation says about an image.

    Args:
        info (dict): As ``get_data_info`` of a data set gives it.
        ignore_index (int): For masks that have been loaded already.

    Returns:
        dict: The annotation, with ``gt_label`` -1, all-zero
        ``keypoints_visible``, no boxes and ``unlabelled``, or, for a mask,
        ``unlabelled`` and what :func:`hide_mask` does.
    """
    if 'keypoints_visible' in info:
        for key in ('keypoints_visible', 'keypoint_weights'):
            if key in info:
                info[key] = np.zeros_like(info[key])
    elif has_boxes(info):
        info.update(instances=[], unlabelled=True)
        if 'segments_info' in info:  # of a panoptic data set
            info['segments_info'] = []
    elif 'seg_map_path' in info:
        info['unlabelled'] = True
    else:
        info['gt_label'] = UNLABELLED
        info.pop('gt_score', None)
    return hide_mask(info, ignore_index)


def hide_mask(results: Any, ignore_index: int) -> Any:
    """Fills a mask in what a pipeline makes of an image, if there is one.

    What mmdet has packed gets ``unlabelled`` into its meta information.

    Args:
        results (dict, optional): Of any step of the pipeline.
        ignore_index (int): What fills it.

    Returns:
        dict, optional: The same.
    """
    if not isinstance(results, dict):
        return results
    mask = results.get('gt_seg_map')
    if mask is not None:
        # of a type that can hold it: a mask is read as uint8
        dtype = np.result_type(mask.dtype, np.min_scalar_type(ignore_index))
        results['gt_seg_map'] = np.full(mask.shape, ignore_index, dtype)
    sample = results.get('data_samples')
    if sample is not None and is_detection(sample):
        sample.set_metainfo(dict(unlabelled=True))
    elif sample is not None and 'gt_sem_seg' in sample:
        sample.gt_sem_seg.data.fill_(ignore_index)
    return results


class HiddenMask:
    """A transform after which a mask is hidden, and not seen by the next.

    Args:
        transform (Callable): Of a pipeline.
        ignore_index (int): What fills the mask.
    """

    def __init__(self, transform: Callable, ignore_index: int) -> None:
        self.transform = transform
        self.ignore_index = ignore_index

    def __call__(self, results: dict) -> Optional[dict]:
        return hide_mask(self.transform(results), self.ignore_index)

    def __repr__(self) -> str:
        return f'{type(self).__name__}({self.transform})'
