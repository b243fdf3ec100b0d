"""What lies inside the wrappers of data sets."""
from bisect import bisect_right
from typing import Any, List, Optional, Tuple

from mmengine.dataset import BaseDataset


def inside(dataset: Any, index: int) -> Optional[Tuple[Any, int]]:
    """Takes off one wrapper of MMEngine, of its libraries, or of PyTorch.

    Args:
        dataset: A data set, fully initialised.
        index (int): An image of it, from 0.

    Returns:
        tuple[Any, int], optional: The data set inside and the image there;
        None if there is none, or no one knows which image it is.
    """
    sizes = getattr(dataset, 'cumulative_sizes', None)  # of a ConcatDataset
    if sizes is not None:
        which = bisect_right(sizes, index)
        return (dataset.datasets[which],
                index - (sizes[which - 1] if which else 0))
    inner: Any = getattr(dataset, 'dataset', None)
    if not hasattr(inner, '__getitem__') or isinstance(inner, str):
        return None
    if hasattr(dataset, 'indices'):  # PyTorch's Subset
        return inner, dataset.indices[index]
    # KFoldDataset answers with the index in the whole, and holds a subset
    if hasattr(dataset, '_get_ori_dataset_idx') and \
            not hasattr(dataset, '_ori_indices'):
        return inner, dataset._get_ori_dataset_idx(index)
    return (inner, index) if len(inner) == len(dataset) else None


def source(dataset: Any, index: int) -> Tuple[Any, int]:
    """The data set whose annotation and pipeline an image has.

    Wrappers that only choose or repeat images are taken off.
    ``get_data_info`` and ``prepare_data`` of what comes out know the image,
    without reading another one where it is broken.

    Args:
        dataset: As for :func:`inside`.
        index (int): An image of it, from 0.

    Returns:
        tuple[Any, int]: The data set, and the image in it.
    """
    while not isinstance(dataset, BaseDataset):
        step = inside(dataset, index)
        if step is None:
            break
        dataset, index = step
    return dataset, index


def innermost(dataset: Any, index: int) -> Tuple[Any, int]:
    """The data set that reads an image, and the image's number in it.

    Args:
        dataset: As for :func:`inside`.
        index (int): An image of it, from 0.

    Returns:
        tuple[Any, int]: The data set without any wrapper, and the number.
    """
    step = inside(dataset, index)
    while step is not None:
        dataset, index = step
        step = inside(dataset, index)
    return dataset, index


def wrapped(dataset: Any) -> List[Any]:
    """All that a wrapper holds, whichever image is asked for.

    Args:
        dataset: A data set, or a wrapper of some.

    Returns:
        list: The data sets directly inside; empty if it is no wrapper.
    """
    inner = getattr(dataset, 'datasets', None) or \
        [getattr(dataset, 'dataset', None)]
    return [one for one in inner
            if one is not None and not isinstance(one, str)]
