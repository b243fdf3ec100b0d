"""Labelled images: some to learn from, others that nothing learns from."""
import os
import os.path as osp
from typing import List, NamedTuple, Sequence, Tuple

import numpy as np

from repfusion_mm.datasets.image_check import folder_files

from .images import is_listable
from .plan_error import PlanError

Pair = Tuple[str, int]
SPLITS = ('train', 'val', 'valid', 'validation', 'test')


class Labelled(NamedTuple):
    """Labelled images.

    Attributes:
        classes (list[str]): Their names, sorted.
        train (list[tuple]): Path and class of those to learn from.
        test (list[tuple]): Of those held out.
    """
    classes: List[str]
    train: List[Pair]
    test: List[Pair]


def find_labelled(folder: str, val_share: float) -> Labelled:
    """Read class folders.

    Args:
        folder (str): With ``train/<class>/`` and ``val/<class>/``, or with
            ``<class>/`` of which a share is held out.
        val_share (float): That share of each class, at least one image.

    Returns:
        Labelled: The images are not opened.

    Raises:
        PlanError: If there are fewer than two classes, one has too few
            images, or train and val differ.
    """
    if not osp.isdir(folder):
        raise PlanError(f'--labels is {folder!r}, which is no folder; '
                        'expected one folder of images for each class')
    splits = [name for name in ('train', 'val')
              if osp.isdir(osp.join(folder, name))]
    if len(splits) == 2:
        train, test = ({name: images for name, images in
                        _class_folders(osp.join(folder, split)).items()
                        if images} for split in splits)
        if sorted(train) != sorted(test):
            raise PlanError(
                f'--labels: {folder}/train and {folder}/val have not the same '
                f'classes: only one has {sorted(set(train) ^ set(test))}')
    else:
        _check_splits(folder)
        found = _class_folders(folder)
        few = [name for name, images in found.items() if len(images) < 2]
        if few:
            raise PlanError(
                f'--labels: of class(es) {few} there are fewer than 2 images, '
                'one to learn from and one held out; add some, or remove the '
                'folder')
        generator = np.random.default_rng(0)
        train, test = {}, {}
        for name, images in sorted(found.items()):
            held = min(len(images) - 1,
                       max(1, round(val_share * len(images))))
            order = generator.permutation(len(images))
            test[name] = sorted(images[i] for i in order[:held])
            train[name] = sorted(images[i] for i in order[held:])
    classes = sorted(train)
    if len(classes) < 2:
        raise PlanError(f'--labels is {folder!r}, with ' + (
            f'images of {classes[0]!r} alone' if classes else
            'no folder of a class in it') + '; expected a folder for each '
            'of at least 2 classes')
    return Labelled(classes, *(
        [(path, number) for number, name in enumerate(classes)
         for path in split[name]] for split in (train, test)))


def _check_splits(folder: str) -> None:
    """Refuse parts of a data set that would be taken for classes."""
    for name in SPLITS:
        part = osp.join(folder, name)
        if osp.isdir(part) and any(one.is_dir() for one in os.scandir(part)):
            raise PlanError(
                f'--labels: {folder} has {name}/ with folders inside, but not '
                'both train/ and val/; call them so, or name '
                f'{name}/ itself')


def of_paths(pairs: Sequence[Pair], paths: Sequence[str]) -> List[Pair]:
    """The pairs whose path is among some.

    Args:
        pairs (Sequence[tuple]): Path and class.
        paths (Sequence[str]): Those that stay.

    Returns:
        list[tuple]: In their order.
    """
    kept = set(paths)
    return [pair for pair in pairs if pair[0] in kept]


def check_classes(labelled: Labelled) -> None:
    """Refuse a class whose images have turned out to be broken.

    Args:
        labelled (Labelled): Those that can be read.

    Raises:
        PlanError: If there is one.
    """
    for split, pairs in (('learn from', labelled.train),
                         ('test on', labelled.test)):
        gone = set(range(len(labelled.classes))) - {x for _, x in pairs}
        if gone:
            raise PlanError(
                f'--labels: class {labelled.classes[min(gone)]!r} has no '
                f'image to {split} that can be read')


def _class_folders(folder: str) -> dict:
    return {name: [osp.abspath(info['img_path']) for info in
                   folder_files(osp.join(folder, name))[0]
                   if is_listable(info['img_path'])]
            for name in sorted(os.listdir(folder))
            if osp.isdir(osp.join(folder, name)) and name[0] != '.'}
