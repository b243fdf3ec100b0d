"""A folder's images, as a config's model is shown images."""
import os.path as osp
from typing import Any, Callable, List, NamedTuple, Optional, Tuple

import mmcv
import numpy as np
import torch
from mmengine.dataset import Compose
from mmengine.registry import init_default_scope
from torch.utils.data import Dataset

from ..datasets.image_check import folder_files
from ..datasets.transforms.bad_image_error import BadImageError
from ..datasets.transforms.decoding import decode, read_file

SIZES = ('crop_size', 'scale', 'size')  # what the steps of pipelines call it


class Loaded(NamedTuple):
    """An image of a folder, or why there is none.

    Attributes:
        name (str): Its path in the folder.
        inputs (Tensor, optional): What the data preprocessor takes; None if
            the file is bad.
        reason (str): What is wrong with it.
    """
    name: str
    inputs: Any
    reason: str = ''


class FolderImages(Dataset):
    """The images of a folder and of the folders in it, by their names.

    Args:
        folder (str): Where they are.
        pipeline (Callable): Of ``img_path``, gives ``inputs``.

    Raises:
        ValueError: If there is no image.
    """

    def __init__(self, folder: str, pipeline: Callable) -> None:
        images, others = folder_files(folder)
        if not images:
            raise ValueError(f'{folder!r} has no images, and {len(others)} '
                             'other files')
        self.folder = folder
        self.names = [osp.relpath(image['img_path'], folder)
                      for image in images]
        self.pipeline = pipeline

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Loaded:
        name = self.names[index]
        try:
            results = self.pipeline(dict(
                img_path=osp.join(self.folder, name), sample_idx=index))
        except BadImageError as error:
            return Loaded(name, None, str(error))
        return Loaded(name, results['inputs'])


class Middle:
    """The largest middle of an image that has a size's shape, resized to it.

    Args:
        size (tuple[int, int]): Height and width.
    """

    def __init__(self, size: Tuple[int, int]) -> None:
        self.size = size

    def __call__(self, results: dict) -> dict:
        """Cut and resize ``img``, and give it as ``inputs``, (C, H, W)."""
        image, (height, width) = results['img'], self.size
        scale = max(height / image.shape[0], width / image.shape[1])
        image = mmcv.imresize(
            image, (max(round(image.shape[1] * scale), width),
                    max(round(image.shape[0] * scale), height)),
            interpolation='area' if scale < 1 else 'bilinear')
        top = (image.shape[0] - height) // 2
        left = (image.shape[1] - width) // 2
        image = image[top:top + height, left:left + width]
        results['inputs'] = torch.from_numpy(
            np.ascontiguousarray(image.transpose(2, 0, 1)))
        return results


def pipeline_of(cfg: Any, image_size: Optional[Tuple[int, int]] = None
                ) -> Compose:
    """How a config's model is shown an image where nothing is random.

    In the steps of its test, if it is one of mmpretrain. Another is shown the
    middle of the image, in the size that it is trained at. Bad images raise
    ``BadImageError``.

    Args:
        cfg (Config): With dataloaders.
        image_size (tuple[int, int], optional): Height and width, in place of
            what the config says. Defaults to None.

    Returns:
        Compose: Of ``img_path``, gives ``inputs``.

    Raises:
        ValueError: If the config has no size.
    """
    scope = cfg.get('default_scope', 'mmengine')
    init_default_scope(scope)
    tested = _steps(cfg.get('test_dataloader')) or \
        _steps(cfg.get('val_dataloader'))
    trained = _steps(cfg.get('train_dataloader'))
    first: List[Callable] = [_load]
    # data sets that need not load hold RGB, and files are read as BGR
    if (tested or trained) and not any(map(_loads, tested or trained)):
        first.append(_swap_channels)
    if tested and image_size is None and scope == 'mmpretrain':
        return Compose([*first, *(step for step in tested
                                  if not _loads(step))])
    return Compose([*first, Middle(image_size or _size(trained))])


def _steps(loader: Any) -> List[dict]:
    """The pipeline of the first data set in nested wrappers."""
    if isinstance(loader, (list, tuple)):
        return next(filter(None, map(_steps, loader)), [])
    if not isinstance(loader, dict):
        return []
    return list(loader.get('pipeline') or _steps(list(loader.values())))


def _loads(step: dict) -> bool:
    return str(step.get('type')).split('.')[-1].startswith('Load')


def _load(results: dict) -> dict:
    """As :class:`LoadCheckedImage`, whose errors speak of trainings."""
    image = decode(read_file(results['img_path']))
    return dict(results, img=image, img_shape=image.shape[:2],
                ori_shape=image.shape[:2])


def _swap_channels(results: dict) -> dict:
    results['img'] = np.ascontiguousarray(results['img'][..., ::-1])
    return results


def _size(steps: List[dict]) -> Tuple[int, int]:
    for step in reversed(steps):
        for key in SIZES:
            size = step.get(key)
            if isinstance(size, int):
                return size, size
            if isinstance(size, (list, tuple)) and len(size) == 2 and all(
                    isinstance(side, int) for side in size):
                # crops are (height, width), sizes of mmcv (width, height)
                return tuple(size if key == 'crop_size' else size[::-1])
    raise ValueError('no step of `train_dataloader.dataset.pipeline` says how '
                     f'large images are, by {SIZES}: give --image-size')
