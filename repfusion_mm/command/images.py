"""The images that somebody has."""
import hashlib
import os
import os.path as osp
from typing import Any, Callable, Dict, Iterable, List, NamedTuple, Sequence

import numpy as np

from repfusion_mm.datasets.image_check import (
    BadImage,
    annotations,
    check_files,
    counted,
    folder_files,
    passed_over,
)

from .plan_error import PlanError

LEAST_IMAGES = 20
LOOKED_AT = 500  # whose sizes are read


class Found(NamedTuple):
    """What is in a folder or a config's data set.

    Attributes:
        paths (list[str]): Of the images, absolute, sorted.
        others (list[str]): Files that are none, by their extension.
    """
    paths: List[str]
    others: List[str]


def find_images(data: str) -> Found:
    """Look for images.

    Args:
        data (str): A folder, with any folders inside, or a config whose
            ``train_dataloader.dataset`` reads files.

    Returns:
        Found: Not opened yet.

    Raises:
        PlanError: If there are none.
    """
    if osp.isdir(data):
        infos, others = folder_files(data)
    elif osp.isfile(data) and data.endswith('.py'):
        dataset = _dataset_of(data)
        infos = annotations(dataset, range(len(dataset)))
        others = passed_over(dataset)
    else:
        what = 'neither a folder nor a config' if osp.exists(data) else \
            'not there'
        raise PlanError(f'DATA is {data!r}, which is {what}; expected a '
                        'folder of images, or a config (.py)')
    paths = sorted({osp.abspath(info['img_path']) for info in infos})
    others = [*others, *(path for path in paths if not is_listable(path))]
    paths = [path for path in paths if is_listable(path)]
    if not paths:
        raise PlanError(
            f'DATA is {data!r}, in which there is no image file '
            f'({len(others)} other files); expected .jpg, .png, .bmp, .tif '
            'or .ppm, in any folders inside')
    return Found(paths, others)


def is_listable(path: str) -> bool:
    """Whether a path is one line of a text file, as lists of images are.

    Args:
        path (str): Of an image.

    Returns:
        bool: Whether it is.
    """
    return not {'\n', '\r'} & set(path) and \
        path == path.encode(errors='ignore').decode()


def readable(paths: Sequence[str], what: str, least: int,
             track: Callable = iter) -> tuple:
    """Read each image once.

    Args:
        paths (Sequence[str]): Of the images.
        what (str): What they are, for the error.
        least (int): So many have to be left.
        track (Callable): Shows how far it is.

    Returns:
        tuple[list[str], list[BadImage]]: Those that can be read, and those
        that cannot.

    Raises:
        PlanError: If too few are left.
    """
    bad = check_files([dict(img_path=path) for path in paths],
                      os.cpu_count() or 1, track=track)
    broken = {one.path for one in bad}
    good = [path for path in paths if path not in broken]
    if len(good) < least:
        raise PlanError(f'{what}: {len(good)} of {len(paths)} images can be '
                        f'read, at least {least} are needed'
                        + (f'; broken are {counted(bad)}' if bad else ''))
    return good, bad


def short_side(paths: Sequence[str]) -> int:
    """The median of the images' shorter sides.

    Args:
        paths (Sequence[str]): Of the images; of many, some are opened.

    Returns:
        int: In pixels.
    """
    from PIL import Image
    step = max(1, len(paths) // LOOKED_AT)
    sides = []
    for path in paths[::step]:
        with Image.open(path) as image:
            sides.append(min(image.size))
    return int(np.median(sides))


def without(paths: Sequence[str], held_out: Sequence[str]) -> List[str]:
    """Images that are none of those held out, nor copies of their files.

    Args:
        paths (Sequence[str]): Of images.
        held_out (Sequence[str]): Of those that no training may see.

    Returns:
        list[str]: The others.
    """
    sizes = {osp.getsize(path) for path in held_out}
    prints = {_print(path) for path in held_out}
    return [path for path in paths if osp.getsize(path) not in sizes or
            _print(path) not in prints]


def mark_of(paths: Iterable[str]) -> str:
    """What changes when files come, go, or are of another size.

    Args:
        paths (Iterable[str]): Of the files.

    Returns:
        str: Of 16 characters.
    """
    return hashlib.sha256('\n'.join(
        f'{path} {osp.getsize(path) if osp.exists(path) else -1}'
        for path in paths).encode(errors='surrogateescape')
    ).hexdigest()[:16]


def write_lists(folder: str, lists: Dict[str, Sequence[Any]],
                bad: Sequence[BadImage]) -> None:
    """Write which images are used for what, a line for each.

    Args:
        folder (str): Where ``<name>.txt`` are written.
        lists (dict[str, Sequence]): Paths, or pairs of path and class.
        bad (Sequence[BadImage]): Go into ``broken.txt``.
    """
    os.makedirs(folder, exist_ok=True)
    lines = {name: [entry if isinstance(entry, str) else
                    f'{entry[0]} {entry[1]}' for entry in entries]
             for name, entries in lists.items()}
    lines['broken'] = [f'{one.path} {one.reason}' for one in bad]
    for name, entries in lines.items():
        if not entries:
            continue
        with open(osp.join(folder, f'{name}.txt'), 'w',
                  encoding='utf-8', errors='surrogateescape') as file:
            file.writelines(f'{entry}\n' for entry in entries)


def _print(path: str) -> bytes:
    with open(path, 'rb') as file:
        return hashlib.sha256(file.read()).digest()


def _dataset_of(path: str) -> Any:
    from mmengine.config import Config
    from mmengine.registry import init_default_scope

    from repfusion_mm.registry import DATASETS
    cfg = Config.fromfile(path)
    if 'train_dataloader' not in cfg:
        raise PlanError(f'DATA is {path!r}, a config without '
                        '`train_dataloader`, whose `dataset` would name the '
                        'images')
    init_default_scope(cfg.get('default_scope', 'mmengine'))
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    if hasattr(dataset, 'full_init'):
        dataset.full_init()
    return dataset
