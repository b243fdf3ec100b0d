"""Features of a folder's images, written as they come."""
import importlib
import importlib.util
import os
import shutil
from typing import Any, Callable, Dict, Iterable, Iterator, List, Optional

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from ..models.teachers.bank.store import megabytes
from .folder_images import FolderImages, Loaded

FORMATS = ('.npy', '.parquet')


def embed_folder(backbone: nn.Module,
                 data_preprocessor: nn.Module,
                 images: FolderImages,
                 out: str,
                 batch_size: int = 32,
                 num_workers: int = 0,
                 track: Callable[[Iterable], Iterable] = iter
                 ) -> Dict[str, Any]:
    """Write the pooled features of all images of a folder.

    They are written batch by batch, and never held all at once. Nothing of
    that name is there before all of it is.

    Args:
        backbone (nn.Module): In evaluation. Of several outputs the last one
            counts.
        data_preprocessor (nn.Module): Of its images.
        images (FolderImages): They.
        out (str): ``.npy``, (N, C) of float32 with the names beside it, one a
            line, in a ``.txt`` of the same name; or ``.parquet``, with the
            columns ``name`` and ``vector``.
        batch_size (int): Images at a time. Defaults to 32.
        num_workers (int): Processes that read them. Defaults to 0.
        track (Callable): Shows how far the batches are. Defaults to none.

    Returns:
        dict[str, Any]: ``images``, how many were written, ``width``, C, and
        ``bad``, by name what is wrong with an image that was left out.

    Raises:
        ValueError: If ``out`` is of another kind, no image can be read, or
            the disk is too small.
        ModuleNotFoundError: If pyarrow is wanted and not installed.
    """
    write = _writer(out)
    bad: Dict[str, str] = {}
    loader = DataLoader(images, batch_size, num_workers=num_workers,
                        collate_fn=list)
    done = _features(backbone, data_preprocessor, track(loader), bad)
    first = next(done, None)
    if first is None:
        raise ValueError(f'none of the {len(images)} images of '
                         f'{images.folder!r} can be read: {bad}')
    width = first[1].shape[1]
    _check_disk(out, 4 * width * len(images))
    with write(out, width) as file:
        file.add(*first)
        for names, features in done:
            file.add(names, features)
    return dict(images=len(images) - len(bad), width=width, bad=bad)


def pooled_output(output: Any) -> Tensor:
    """The feature vector of each image, of what a backbone puts out.

    Args:
        output (Tensor or Sequence): Of several the last one; maps (N, C, H,
            W) and tokens (N, L, C) are averaged.

    Returns:
        Tensor: (N, C).
    """
    while not isinstance(output, Tensor):
        output = output[-1]
    if output.dim() == 3:
        return output.mean(1)
    return output.flatten(2).mean(2) if output.dim() > 3 else output


@torch.no_grad()
def _features(backbone: nn.Module, data_preprocessor: Any,
              batches: Iterable[List[Loaded]], bad: Dict[str, str]
              ) -> Iterator[tuple]:
    for batch in batches:
        bad.update((one.name, one.reason) for one in batch
                   if one.inputs is None)
        good = [one for one in batch if one.inputs is not None]
        # images of several sizes are not to be padded to one
        for same in _by_shape(good):
            inputs = data_preprocessor(dict(
                inputs=[one.inputs for one in same], data_samples=None),
                training=False)['inputs']
            features = pooled_output(backbone(inputs))
            yield ([one.name for one in same],
                   features.float().cpu().numpy())


def _by_shape(batch: List[Loaded]) -> List[List[Loaded]]:
    """Neighbours of the same shape, in their order."""
    groups: List[List[Loaded]] = []
    for one in batch:
        if groups and groups[-1][0].inputs.shape == one.inputs.shape:
            groups[-1].append(one)
        else:
            groups.append([one])
    return groups


class _Npy:
    """Rows of a .npy, and their names beside it."""

    def __init__(self, out: str, width: int) -> None:
        self.out, self.width, self.number = out, width, 0
        self.names = f'{out[:-len(".npy")]}.txt'

    def __enter__(self) -> '_Npy':
        self.rows = open(f'{self.out}.part', 'wb')
        self.texts = open(f'{self.names}.part', 'w', encoding='utf-8')
        self._head()
        return self

    def _head(self) -> None:
        """As long for any number of rows: NumPy leaves room for it."""
        np.lib.format.write_array_header_1_0(self.rows, dict(
            descr='<f4', fortran_order=False,
            shape=(self.number, self.width)))

    def add(self, names: List[str], features: np.ndarray) -> None:
        """Rows behind the others."""
        features.astype('<f4').tofile(self.rows)
        self.texts.writelines(f'{name}\n' for name in names)
        self.number += len(names)

    def __exit__(self, kind: Optional[type], *_: Any) -> None:
        self.rows.seek(0)
        self._head()
        self.rows.close()
        self.texts.close()
        _end(kind, self.out, self.names)


class _Parquet:
    """Rows of a .parquet."""

    def __init__(self, out: str, width: int) -> None:
        self.out = out
        # which have no types
        self.arrow: Any = importlib.import_module('pyarrow')
        self.parquet: Any = importlib.import_module('pyarrow.parquet')
        number = self.arrow.float32()
        self.schema = self.arrow.schema([
            ('name', self.arrow.string()),
            ('vector', self.arrow.list_(number, width))])

    def __enter__(self) -> '_Parquet':
        self.file = self.parquet.ParquetWriter(f'{self.out}.part',
                                               self.schema)
        return self

    def add(self, names: List[str], features: np.ndarray) -> None:
        """A group of rows."""
        vectors = self.arrow.FixedSizeListArray.from_arrays(
            self.arrow.array(features.ravel(), self.arrow.float32()),
            features.shape[1])
        self.file.write_table(self.arrow.table(
            [self.arrow.array(names), vectors], schema=self.schema))

    def __exit__(self, kind: Optional[type], *_: Any) -> None:
        self.file.close()
        _end(kind, self.out)


def _end(error: Optional[type], *files: str) -> None:
    """Name the files as they should be, or leave none."""
    for file in files:
        if error is None:
            os.replace(f'{file}.part', file)
        else:
            os.remove(f'{file}.part')


def _writer(out: str) -> Any:
    kind = os.path.splitext(out)[1]
    if kind not in FORMATS:
        raise ValueError(f'--out is {out!r}, expected a file of {FORMATS}')
    os.makedirs(os.path.dirname(os.path.abspath(out)), exist_ok=True)
    if kind == '.parquet' and importlib.util.find_spec('pyarrow') is None:
        raise ModuleNotFoundError(
            f'--out {out} needs pyarrow, which is not installed: pip install '
            'pyarrow; or write a .npy')
    return _Npy if kind == '.npy' else _Parquet


def _check_disk(out: str, size: int) -> None:
    free = shutil.disk_usage(os.path.dirname(os.path.abspath(out))).free
    if free < size:
        raise ValueError(f'--out {out} would take {megabytes(size)} and there '
                         f'are {megabytes(free)} free')
