"""Data sets of the images that a file lists, at a size."""
import copy
from typing import Any, List, Optional


def image_list(path: str, pipeline: List[dict],
               classes: Optional[List[str]] = None) -> dict:
    """Config of a data set of the images that a file lists.

    Args:
        path (str): Of the file.
        pipeline (list[dict]): Of the data set.
        classes (list[str], optional): Where each line ends in a class.

    Returns:
        dict: It.
    """
    dataset = dict(type='CustomDataset', ann_file=path, data_prefix='',
                   with_label=bool(classes), pipeline=pipeline)
    return dict(dataset, metainfo=dict(classes=list(classes))) if classes \
        else dataset


def sized(pipeline: Any, size: int) -> List[dict]:
    """A pipeline that gives images of a size.

    Args:
        pipeline (list[dict]): Of another size.
        size (int): In pixels.

    Returns:
        list[dict]: With one of eight parts cut off where the test pipeline
        cuts off so much.
    """
    keys = dict(RandomResizedCrop=('scale', size),
                ResizeEdge=('scale', size * 9 // 8),
                CenterCrop=('crop_size', size))
    steps = [dict(step) for step in copy.deepcopy(pipeline)]
    for step in steps:
        if step['type'] in keys:
            key, value = keys[step['type']]
            step[key] = value
    return steps
