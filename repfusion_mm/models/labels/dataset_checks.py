"""Labels that a reward cannot read are refused before training."""
import logging
from typing import Any

import numpy as np
from mmengine.logging import print_log

from ..utils.dataset_wrappers import source


def check_num_classes(num_classes: int, at_least: int = 2) -> None:
    """Refuse a number of classes that leaves nothing to tell apart.

    Args:
        num_classes (int): As in the reward's config.
        at_least (int): The fewest that make sense. Defaults to 2.

    Raises:
        ValueError: If there are fewer.
    """
    if num_classes < at_least:
        raise ValueError(f'`reward.num_classes` must be at least {at_least}, '
                         f'got {num_classes}')


def check_labels(dataset: Any,
                 num_classes: int,
                 reward: str,
                 multi_label: bool = False) -> None:
    """Look at every label of the training's data set.

    Args:
        dataset: Of the training; what wraps it does not matter. One without
            ``get_data_info`` is not looked at, and the log says so.
        num_classes (int): Classes that the reward knows.
        reward (str): Its name, for error messages.
        multi_label (bool): Whether several classes, or none, may apply to an
            image. Defaults to False.

    Raises:
        ValueError: If no image has a label, one has a label that is no class,
            or there are more classes than ``num_classes``.
    """
    labelled = 0
    seen = set()
    for index in range(len(dataset) if hasattr(dataset, '__len__') else 1):
        inner, number = source(dataset, index)
        if not hasattr(inner, 'get_data_info'):
            print_log(f'The labels of {type(inner).__name__} are not checked '
                      'before training, since it has no `get_data_info`',
                      'current', logging.WARNING)
            return
        if id(inner) not in seen:
            seen.add(id(inner))
            _check_classes(inner, num_classes)
        info = inner.get_data_info(number)
        try:
            labelled += _is_labelled(info, num_classes, multi_label)
        except ValueError as error:
            path = info.get('img_path')
            image = f'{index} ({path})' if path else str(index)
            raise ValueError(
                f'image {image} of `train_dataloader.dataset` has {error}, '
                f'but `reward.num_classes` is {num_classes}: expected '
                + ('labels' if multi_label else 'one label')
                + f' from 0 to {num_classes - 1}, or -1 where the image is '
                'unlabelled') from None
    if not labelled:
        raise ValueError(
            f'{reward} needs some labelled images, but none of '
            '`train_dataloader.dataset` has a label; leave out `reward` and '
            'use FixedTime or UniformTime')


def _check_classes(dataset: Any, num_classes: int) -> None:
    classes = getattr(dataset, 'metainfo', {}).get('classes') or ()
    if len(classes) > num_classes:
        raise ValueError(
            f'`reward.num_classes` is {num_classes}, but the data set has '
            f'{len(classes)} classes')


def _is_labelled(info: dict, num_classes: int, multi_label: bool) -> bool:
    """Whether an image is labelled; a ValueError says what is wrong."""
    label, score = info.get('gt_label'), info.get('gt_score')
    labels = np.atleast_1d([] if label is None else label)
    if labels.tolist() == [-1]:
        return False
    if ((labels < 0) | (labels >= num_classes)).any():
        raise ValueError(f'the label {label}')
    if not multi_label:
        if len(labels) > 1:
            raise ValueError(
                f'the labels {label} (several are read by ClassificationReward'
                ' with `reward.multi_label=True`)')
        return len(labels) == 1
    if score is None:
        return label is not None
    if len(score) != num_classes:
        raise ValueError(f'a `gt_score` of {len(score)} elements')
    return bool((np.asarray(score) >= 0).all())
