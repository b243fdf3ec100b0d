"""Which images of a data set may be labelled, and the drawing of some."""
from typing import Any, Collection, Dict, List, Sequence, Set, Tuple

import numpy as np
from mmengine.dataset import BaseDataset

from ..models.utils.dataset_wrappers import source, wrapped


def first_of_each(dataset: Any) -> List[int]:
    """For each image, the first that is the same one.

    Args:
        dataset (BaseDataset): A data set, or a wrapper of some.

    Returns:
        list[int]: Indices; a repeated image has that of its first time.

    Raises:
        ValueError: If what is inside has no annotations to read.
    """
    length = len(dataset)
    if isinstance(dataset, BaseDataset):
        return list(range(length))
    first: Dict[Tuple[int, int], int] = {}
    sources = []
    for image in range(length):
        inner, index = source(dataset, image)
        if not (hasattr(inner, 'get_data_info') and
                hasattr(inner, 'prepare_data')):
            raise ValueError(
                f'`dataset` is or holds a {type(inner).__name__}, whose '
                'annotations FewLabels cannot read; expected a data set of '
                'MMEngine, such as mmpretrain.CustomDataset')
        sources.append(first.setdefault((id(inner), index), image))
    return sources


def draw(generator: np.random.Generator, images: Sequence[int], number: int,
         name: str, owner: str, drawn: Collection[int] = ()) -> Set[int]:
    """Draw as many images as are lacking, beside those drawn before.

    Args:
        generator (np.random.Generator): Draws them.
        images (Sequence[int]): To draw from.
        number (int): How many of these are wanted.
        name (str): The config key of the number, for the error message.
        owner (str): Whose images they are, for the error message.
        drawn (Collection[int]): Images that are drawn already.

    Returns:
        set[int]: Some of ``images``.

    Raises:
        ValueError: If there are too few.
    """
    if len(images) < number:
        raise ValueError(f'{name} is {number}, but {owner} has only '
                         f'{len(images)} images')
    rest = [image for image in images if image not in drawn]
    lacking = max(number - (len(images) - len(rest)), 0)
    return set(generator.choice(rest, lacking, replace=False).tolist())


def refuse_mixtures(dataset: Any) -> None:
    """Refuse samples of several images: they have no label to be hidden.

    Args:
        dataset (BaseDataset): A data set, or a wrapper of some.

    Raises:
        ValueError: If it mixes images, or gives others each time.
    """
    if hasattr(dataset, 'datasets') and getattr(dataset, 'resample', False):
        raise ValueError(
            '`dataset` is a CombinedDataset with `sample_ratio_factor`, which '
            'gives another image for the same index each time; put FewLabels '
            'around each of its `datasets` instead')
    if isinstance(dataset, BaseDataset):
        return
    if hasattr(dataset, 'pipeline') and hasattr(dataset, 'dataset'):
        raise ValueError(
            f'`dataset` is or holds a {type(dataset).__name__}, which makes '
            'one sample of several images; put FewLabels around its `dataset` '
            'instead')
    for one in wrapped(dataset):
        refuse_mixtures(one)
