"""Features of many images at many time steps, on disk, each computed once."""
import json
import os
import os.path as osp
import shutil
from typing import Any, Dict, Iterator, Mapping, Sequence, Tuple

import numpy as np
from mmengine.logging import print_log

from repfusion_mm.models.teachers.bank.store import megabytes

KEY, FEATURES, MARKS = 'features.json', 'features.f32', 'images.u32'


class StoredFeatures:
    """A folder with one row of float32 numbers for each image and time step.

    What is there is not computed again: a run that was killed goes on where
    it was. On disk::

        features.json  what they are features of
        features.f32   (time steps, images, width)
        images.u32     what each row was computed of, (time steps, images)

    Args:
        folder (str): Where it is, or is to be laid out; its disk use is then
            said first.
        key (dict): What they are features of, as JSON gives it back, with
            ``timesteps``.
        images (int): Number of images.
        columns (dict[str, tuple[int, ...]]): Shape of a row's part of each
            tap: positions and channels, (P, C), or (C,).

    Raises:
        OSError: If the disk has less space.
        ValueError: If the folder holds features of something else.
    """

    def __init__(self, folder: str, key: dict, images: int,
                 columns: Dict[str, Tuple[int, ...]]) -> None:
        self.folder, self.columns = folder, columns
        self.timesteps = list(key['timesteps'])
        width = sum(int(np.prod(shape)) for shape in columns.values())
        self._shape = (len(self.timesteps), images, width)
        key = json.loads(json.dumps(dict(
            key, images=images, columns=columns), default=str))
        path = osp.join(folder, KEY)
        if osp.exists(path):
            _compare(folder, key)
        else:
            self._lay_out(key)
        self._features = np.memmap(osp.join(folder, FEATURES), '<f4', 'r+',
                                   shape=self._shape)
        self._marks = np.memmap(osp.join(folder, MARKS), '<u4', 'r+',
                                shape=self._shape[:2])

    def missing(self, time: int, images: Sequence[int],
                prints: np.ndarray) -> np.ndarray:
        """Which of some images have no row yet, or one of other pixels.

        Args:
            time (int): Place of the time step.
            images (Sequence[int]): Their numbers.
            prints (np.ndarray): What tells their pixels from others, uint32
                above 0, alike.

        Returns:
            np.ndarray: Bool, alike.
        """
        return self._marks[time, images] != prints

    def write(self, time: int, images: Sequence[int], rows: np.ndarray,
              prints: np.ndarray) -> None:
        """Write some rows, and then that they are there.

        Args:
            time (int): Place of the time step.
            images (Sequence[int]): N of them.
            rows (np.ndarray): (N, width).
            prints (np.ndarray): As of :meth:`missing`.
        """
        self._features[time, images] = rows
        self._marks[time, images] = prints

    def of(self, tap: str, images: Sequence[int]) -> 'FeaturesOfTap':
        """What is read at one tap, over t.

        Args:
            tap (str): The tap.
            images (Sequence[int]): Their numbers, N of them.

        Returns:
            FeaturesOfTap: By time step, (N, P, C) or (N, C).
        """
        start = 0
        for name, shape in self.columns.items():
            end = start + int(np.prod(shape))
            if name == tap:
                break
            start = end
        return FeaturesOfTap(self.timesteps, self._features, (start, end),
                             shape, images)

    def _lay_out(self, key: dict) -> None:
        size = 4 * int(np.prod(self._shape)) + 4 * int(
            np.prod(self._shape[:2]))
        print_log(f'{self.folder} holds features of {self._shape[1]} images '
                  f'at {self._shape[0]} time steps: {megabytes(size)} on '
                  'disk', 'current')
        os.makedirs(self.folder, exist_ok=True)
        free = shutil.disk_usage(self.folder).free
        if free < size:
            raise OSError(
                f'{self.folder} needs {megabytes(size)}, but its disk has '
                f'{megabytes(free)} free: take fewer `timesteps`, `--taps` '
                'or images, or another disk by `--out`')
        for name, length in (
                (FEATURES, 4 * int(np.prod(self._shape))),
                (MARKS, 4 * int(np.prod(self._shape[:2])))):
            with open(osp.join(self.folder, name), 'wb') as file:
                file.truncate(length)
        with open(osp.join(self.folder, KEY), 'w') as file:  # last: complete
            json.dump(key, file, indent=1)


class FeaturesOfTap(Mapping):
    """Features at one tap by time step, read when they are asked for.

    Args:
        timesteps (Sequence[int]): T of them.
        features (np.ndarray): (T, M, width).
        columns (tuple[int, int]): Of the tap, first and behind the last.
        shape (Sequence[int]): Of an image's.
        images (Sequence[int]): N of the M.
    """

    def __init__(self, timesteps: Sequence[int], features: np.ndarray,
                 columns: Tuple[int, int], shape: Sequence[int],
                 images: Sequence[int]) -> None:
        self._places = {t: place for place, t in enumerate(timesteps)}
        self._features, self._columns = features, slice(*columns)
        self._shape, self._images = shape, list(images)

    def __getitem__(self, t: int) -> np.ndarray:
        rows = self._features[self._places[t], :, self._columns]
        return np.array(rows[self._images]).reshape(-1, *self._shape)

    def __iter__(self) -> Iterator[int]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


def _compare(folder: str, key: Dict[str, Any]) -> None:
    with open(osp.join(folder, KEY)) as file:
        there = json.load(file)
    differ = [name for name in {**there, **key}
              if there.get(name) != key.get(name)]
    if differ:
        raise ValueError(
            f'{folder} holds features of something else, by its '
            f'{", ".join(f"`{name}`" for name in differ)}: delete the '
            'folder, or name another `--out`')
