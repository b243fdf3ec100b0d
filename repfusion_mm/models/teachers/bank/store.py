"""Rows of numbers on disk, each computed once: the store of a feature bank."""
import json
import os
import os.path as osp
import shutil
import tempfile
import zlib
from typing import Callable, Dict, Optional, Tuple

import numpy as np
import torch
from mmengine.logging import print_log
from torch import Tensor

KEY, FEATURES, MARKS = 'bank.json', 'features.f16', 'marks.u32'
ON_GPU = 2**30  # bytes of rows that a GPU keeps: CIFAR-10's, with 20 bins
CHUNK = 4096


class FeatureBank:
    """A folder with one row of half-precision numbers for each entry.

    A row's mark, written after it, is its checksum: a row that is not there,
    or was torn when its writer was killed, is not whole and is written again.
    Several processes may read and write one bank: they would write the same
    into a row, and a mixture of both would not be whole. On disk::

        bank.json      what the bank holds, and of what
        features.f16   the rows, float16, (entries, width)
        marks.u32      the checksums, uint32, (entries,), 0 where there is none

    A copy of the object shares the files, and what a GPU keeps of them.

    Args:
        folder (str): An existing bank; see :meth:`create`.

    Attributes:
        key (dict): What ``bank.json`` says.

    Raises:
        ValueError: If the folder holds something else.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder
        key = read_key(folder)
        if key is None:
            raise ValueError(f'`teacher.bank` is {folder!r}, which has no '
                             f'{KEY}: this is no feature bank. Name a folder '
                             'that is not there yet')
        self.key = key
        self._entries, self._width = key['entries'], key['width']
        sizes = {FEATURES: 2 * self._entries * self._width,
                 MARKS: 4 * self._entries}
        for name, size in sizes.items():
            path = osp.join(folder, name)
            if not osp.exists(path) or osp.getsize(path) != size:
                raise ValueError(f'`teacher.bank` is damaged: {path!r} should '
                                 f'have {size} bytes. Delete the folder, and '
                                 'it is filled again')
        self._features = np.memmap(
            osp.join(folder, FEATURES), '<f2', 'r',
            shape=(self._entries, self._width))
        self._marks = np.memmap(osp.join(folder, MARKS), '<u4', 'r')
        self._marked = 0  # of the first entries, these have marks
        self._kept: Dict[torch.device, Optional[Tensor]] = {}

    def __deepcopy__(self, memo: dict) -> 'FeatureBank':
        return self

    @classmethod
    def create(cls, folder: str, key: dict, entries: int,
               width: int) -> 'FeatureBank':
        """Lay out an empty bank; its disk use is printed first.

        Args:
            folder (str): Where to. If another process was faster, its bank is
                opened.
            key (dict): What to keep in ``bank.json``; fits into JSON.
            entries (int): Number of rows.
            width (int): Numbers in a row.

        Returns:
            FeatureBank: The bank.

        Raises:
            OSError: If the disk has less space.
        """
        size = entries * (2 * width + 4)
        print_log(f'The feature bank {folder} has {entries} entries of '
                  f'{width} numbers: up to {megabytes(size)} on disk',
                  'current')
        parent = osp.dirname(osp.abspath(folder))
        os.makedirs(parent, exist_ok=True)
        free = shutil.disk_usage(parent).free
        if free < size:
            raise OSError(f'`teacher.bank` {folder!r} needs '
                          f'{megabytes(size)}, but its disk has '
                          f'{megabytes(free)} free; store fewer '
                          '`teacher.timesteps`, or name another disk')
        # complete under its name, or not there
        draft = tempfile.mkdtemp(dir=parent, prefix='.bank')
        for name, length in ((FEATURES, 2 * entries * width),
                             (MARKS, 4 * entries)):
            with open(osp.join(draft, name), 'wb') as file:
                file.truncate(length)
        with open(osp.join(draft, KEY), 'w') as file:
            json.dump(dict(key, entries=entries, width=width), file, indent=1)
        os.chmod(draft, 0o755)
        try:
            os.rename(draft, folder)
        except OSError:
            shutil.rmtree(draft)
            if read_key(folder) is None:
                raise
        return cls(folder)

    @property
    def missing(self) -> np.ndarray:
        """Entries to be computed, int64, ascending; reads them all.

        Those without a whole row, and those of an image that could not be
        read, which are NaN.
        """
        return self._entries_where(
            lambda rows, whole: ~whole | np.isnan(rows).any(1))

    @property
    def _torn(self) -> np.ndarray:
        return self._entries_where(lambda rows, whole: ~whole)

    def _entries_where(self, wanted: Callable) -> np.ndarray:
        chunks = np.array_split(np.arange(self._entries),
                                -(-self._entries // CHUNK))
        return np.concatenate([chunk[wanted(*self.read(chunk))]
                               for chunk in chunks])

    @property
    def is_full(self) -> bool:
        """Whether all rows have a mark; reads none of them."""
        while self._marked < self._entries and self._marks[
                self._marked:self._marked + CHUNK].all():
            self._marked += CHUNK
        return self._marked >= self._entries

    def on(self, device: torch.device) -> Optional[Tensor]:
        """All rows on a GPU, of a bank that is full and small.

        Args:
            device (torch.device): The GPU. Its copy is made at the first
                call, and kept.

        Returns:
            Tensor, optional: Float16, (entries, width). None if the bank is
            not full, or has more than ``ON_GPU`` bytes.
        """
        if device not in self._kept and self.is_full:
            size = 2 * self._entries * self._width
            fits = size <= ON_GPU and not len(self._torn)
            self._kept[device] = torch.from_numpy(
                np.array(self._features)).to(device) if fits else None
            if fits:
                print_log(f'The feature bank {self.folder} is kept on '
                          f'{device}: {megabytes(size)}', 'current')
        return self._kept.get(device)

    def read(self, entries: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
        """Some rows, and which of them are whole.

        Args:
            entries (np.ndarray): Int64, (N,).

        Returns:
            tuple: The rows, float16, (N, width), and whether each is whole,
            bool, (N,).
        """
        rows, marks = self._features[entries], self._marks[entries]
        return rows, np.array([mark == _checksum(row)
                               for row, mark in zip(rows, marks)], bool)

    def write(self, entries: np.ndarray, rows: np.ndarray) -> None:
        """Write some rows, and then their marks.

        Args:
            entries (np.ndarray): Int64, (N,).
            rows (np.ndarray): Float16, (N, width).

        Raises:
            OSError: If the disk is full.
        """
        # by files: a full disk is an error there, and a crash in a memory map
        with open(osp.join(self.folder, FEATURES), 'r+b', 0) as features, \
                open(osp.join(self.folder, MARKS), 'r+b', 0) as marks:
            for entry, row in zip(entries.tolist(), rows):
                features.seek(2 * self._width * entry)
                features.write(row.tobytes())
                marks.seek(4 * entry)
                marks.write(np.uint32(_checksum(row)).tobytes())


def read_key(folder: str) -> Optional[dict]:
    """What a bank says of itself; None where there is no bank.

    Args:
        folder (str): Of the bank.

    Returns:
        dict, optional: As in ``bank.json``.
    """
    path = osp.join(folder, KEY)
    if not osp.exists(path):
        return None
    with open(path) as file:
        return json.load(file)


def _checksum(row: np.ndarray) -> int:
    return zlib.crc32(row.tobytes()) or 1  # 0 says that there is no row


def megabytes(size: int) -> str:
    """A number of bytes, for a reader.

    Args:
        size (int): Bytes.

    Returns:
        str: Such as ``'12.3 MB'``.
    """
    return f'{size / 1e6:,.1f} MB'
