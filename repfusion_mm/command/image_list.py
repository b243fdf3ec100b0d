"""Data sets of the images that a file lists, at a size."""
import copy
from typing import Any, List, Optional

from .students import SMALL


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


def sized(pipeline: Any, size: int, flip: bool = True) -> List[dict]:
    """A pipeline that gives images of a size.

    Args:
        pipeline (list[dict]): Of another size.
        size (int): In pixels.
        flip (bool): Whether images may be flipped. Defaults to True.

    Returns:
        list[dict]: With one of eight parts cut off where the test pipeline
        cuts off so much. Of small images a crop leaves too little to see:
        they are shifted by up to an eighth in training, as CIFAR's are, and
        tested whole.
    """
    edge = size if size <= SMALL else size * 9 // 8
    keys = dict(RandomResizedCrop=('scale', size),
                ResizeEdge=('scale', edge), CenterCrop=('crop_size', size))
    shift = [dict(type='ResizeEdge', scale=size, edge='short'),
             dict(type='CenterCrop', crop_size=size),
             dict(type='RandomCrop', crop_size=size, padding=size // 8,
                  padding_mode='reflect')]
    steps = []
    for step in copy.deepcopy(pipeline):
        if step['type'] == 'RandomResizedCrop' and size <= SMALL:
            steps += shift
        elif step['type'] == 'RandomFlip' and not flip:
            continue
        elif step['type'] in keys:
            key, value = keys[step['type']]
            steps.append(dict(step, **{key: value}))
        else:
            steps.append(dict(step))
    return steps
