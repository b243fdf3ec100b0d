"""The whole images that a feature bank is of."""
import hashlib
import json
import os
import os.path as osp
from typing import Any, Dict, List, Optional

import numpy as np
import torch
from torch import Tensor

from ...utils.building import build_dataset
from ...utils.dataset_wrappers import source
from ...utils.image_name import image_name
from ...utils.nearest import nearest
from ...utils.raw_images import build_raw_image


class NoImageError(ValueError):
    """An image of the bank's data set cannot be read."""


class BankImages:
    """A data set whose images are numbered, and known again in training.

    An image that comes from a file is known by its path, and one that is kept
    in memory by ``sample_idx``, its number in its own data set, and by its
    pixels. It does not matter what the training's data set is wrapped in.

    Args:
        dataset (dict): Config of the data set; its pipeline loads and packs,
            and nothing in it is random.
        channel_order (str): Order of the channels that it gives, ``'rgb'`` or
            ``'bgr'``.
        raw_image (dict, optional): As in :class:`RepFusion`, of what it
            gives. Defaults to None.

    Attributes:
        digest (str): Of the list of all images and of how they are loaded.

    Raises:
        ValueError: If the pipeline is random, or the order unknown.
    """

    def __init__(self, dataset: dict, channel_order: str,
                 raw_image: Optional[dict] = None) -> None:
        self._raw_image = build_raw_image(raw_image, channel_order,
                                          'teacher.raw_image')
        self._dataset = build_dataset('teacher.dataset', dataset)
        steps = _steps(dataset)
        for step in steps:
            if 'Random' in str(step['type']):
                raise ValueError(
                    f'`teacher.dataset` has {step["type"]!r} in its pipeline, '
                    'but a feature bank holds whole images, each once; leave '
                    'out what is random')
        infos = []
        for index in range(len(self._dataset)):
            info = _annotation(self._dataset, index)
            if info is None:
                raise ValueError(
                    f'`teacher.dataset` is a {type(self._dataset).__name__}, '
                    'of which no `get_data_info` tells one image from another;'
                    ' expected a data set of MMEngine')
            infos.append(info)
        names = [image_name(info) for info in infos]
        self._rows: Dict[Any, int] = {
            name: row for row, name in enumerate(names)}
        # without the folder, so that the data may be moved
        paths = [name for name in names if isinstance(name, str)]
        folder = len(osp.commonprefix(paths).rpartition('/')[0])
        self._pixels = [_pixels(info) for info in infos]
        digest = hashlib.sha256(json.dumps(
            [steps, channel_order, *([raw_image] if raw_image else [])],
            default=str).encode())
        for name, pixels in zip(names, self._pixels):
            # a name may be no UTF-8
            digest.update(pixels or os.fsencode(name[folder:]) + b'\n')
        self.digest = digest.hexdigest()

    def __len__(self) -> int:
        return len(self._dataset)

    def __deepcopy__(self, memo: dict) -> 'BankImages':
        return self

    def row(self, sample: Any) -> int:
        """The number of the image behind a data sample.

        Args:
            sample (DataSample or dict): With ``img_path`` or ``sample_idx``.

        Returns:
            int: From 0 to the number of images, less 1.

        Raises:
            ValueError: If there is no such image.
        """
        name = image_name(sample)
        if name is None:
            raise ValueError(
                'a feature bank must know which image a data sample is of: '
                'each must hold an `img_path` or, where the images are in '
                'memory, a `sample_idx`; name it among the `meta_keys` of the '
                'transform that packs the inputs, and `flip` too')
        if name not in self._rows:
            near = f'; nearest: {nearest(name, self._rows)}' \
                if isinstance(name, str) and len(self) <= 10**4 else ''
            raise ValueError(f'the training draws the image {name!r}, which '
                             'is not in `teacher.dataset`, the images of the '
                             f'feature bank{near}')
        return self._rows[name]

    def load(self, row: int) -> Tensor:
        """A whole image.

        Args:
            row (int): Its number.

        Returns:
            Tensor: Float, RGB, 0 to 255, (3, H, W).

        Raises:
            NoImageError: If it cannot be read, and the pipeline says so.
            ValueError: If the pipeline packs no images.
        """
        dataset, index = source(self._dataset, row)
        # a data set itself would give another image for a broken one
        sample = dataset.prepare_data(index)
        if sample is None:
            info = dataset.get_data_info(index)
            raise NoImageError(
                f'{image_name(info)!r} of `teacher.dataset` cannot be read; a '
                'feature bank holds every image: put one that can be read in '
                'its place, and the bank goes on, or leave it out')
        if not isinstance(sample, dict) or 'inputs' not in sample:
            raise ValueError(
                'the samples of `teacher.dataset` have no `inputs`: its '
                "`pipeline` must end with what packs them, such as "
                "dict(type='PackInputs')")
        image = torch.as_tensor(sample['inputs'])
        return self._raw_image(image[None], None)[0]

    def check(self, dataset: Any) -> None:
        """Look whether a training's images are all among these.

        Args:
            dataset: Of the training; one that knows no annotations is not
                looked at.

        Raises:
            ValueError: If one is not, or has other pixels.
        """
        for index in range(len(dataset) if hasattr(dataset, '__len__') else 0):
            info = _annotation(dataset, index)
            if info is None:
                return
            if _pixels(info) != self._pixels[self.row(info)]:
                raise ValueError(
                    f'image {index} of `train_dataloader.dataset` has other '
                    'pixels than the one of the same `sample_idx`, '
                    f'{info["sample_idx"]}, in `teacher.dataset`, the images '
                    'of the feature bank: it must be the same data set')


def _annotation(dataset: Any, index: int) -> Optional[dict]:
    inner, number = source(dataset, index)
    return inner.get_data_info(number) if hasattr(inner, 'get_data_info') \
        else None


def _steps(cfg: Any) -> List[dict]:
    """The steps of a data set's pipeline, whatever it is wrapped in."""
    if isinstance(cfg, dict):
        return list(cfg.get('pipeline', [])) + [
            step for key, value in cfg.items() if key != 'pipeline'
            for step in _steps(value)]
    if isinstance(cfg, (list, tuple)):
        return [step for value in cfg for step in _steps(value)]
    return []


def _pixels(info: dict) -> bytes:
    """A digest of an image in memory, empty for one in a file."""
    if info.get('img') is None or info.get('img_path'):  # kept: CachedImages
        return b''
    image = np.ascontiguousarray(info['img'])
    return hashlib.blake2b(image.tobytes() + str(image.shape).encode(),
                           digest_size=16).digest()
