"""Tiny-ImageNet in the layout of its official zip."""
import os
import os.path as osp
from typing import Any, List

from mmengine.dataset import BaseDataset

from repfusion_mm.registry import DATASETS

SPLITS = ('train', 'val', 'test')


@DATASETS.register_module()
class TinyImageNet(BaseDataset):
    """200 classes of ImageNet at 64x64: 100,000 images to train, 10,000 to
    validate, and 10,000 to test that were released without labels.

    The folder is read as the official zip unpacks::

        tiny-imagenet-200/wnids.txt                    the classes
        tiny-imagenet-200/words.txt                    their names
        tiny-imagenet-200/train/<class>/images/*.JPEG
        tiny-imagenet-200/val/images/*.JPEG
        tiny-imagenet-200/val/val_annotations.txt      their classes
        tiny-imagenet-200/test/images/*.JPEG

    A class's label is its place among the sorted WordNet ids, as it is for
    class folders. Images of the split ``'test'`` have the label -1. The
    pipeline begins with ``LoadImageFromFile``.

    Args:
        data_root (str): The folder with ``wnids.txt``.
        split (str): ``'train'``, ``'val'`` or ``'test'``. Defaults to
            ``'train'``.
        **kwargs: As for ``mmengine.dataset.BaseDataset``, above all
            ``pipeline``.

    Raises:
        FileNotFoundError: If a file or folder of the layout is not there.
        ValueError: If the split is unknown, or ``val_annotations.txt`` names
            a class that ``wnids.txt`` does not.

    Source: Le and Yang, "Tiny ImageNet Visual Recognition Challenge", CS 231N,
    2015.

    Example:
        >>> dataset = dict(
        ...     type='repfusion_mm.TinyImageNet',
        ...     data_root='data/tiny-imagenet-200',
        ...     split='val',
        ...     pipeline=[dict(type='mmpretrain.LoadImageFromFile'),
        ...               dict(type='mmpretrain.PackInputs')],
        ...     lazy_init=True)
    """

    def __init__(self, data_root: str, split: str = 'train',
                 **kwargs: Any) -> None:
        if split not in SPLITS:
            raise ValueError(f'`split` is {split!r}, expected one of {SPLITS}')
        self.split = split
        super().__init__(data_root=data_root, **kwargs)

    def load_data_list(self) -> List[dict]:
        """Paths and labels of the split, and the names of the classes.

        Returns:
            list[dict]: ``img_path`` and ``gt_label`` of each image.
        """
        ids = sorted(line for line in self._lines('wnids.txt') if line)
        names = dict(line.partition('\t')[::2]
                     for line in self._lines('words.txt'))
        # a name given by the config stays
        self._metainfo.setdefault(
            'classes', tuple(names.get(one, one) for one in ids))
        labels = {one: label for label, one in enumerate(ids)}
        if self.split == 'train':
            return [item for one, label in labels.items()
                    for item in self._images(f'train/{one}/images', label)]
        if self.split == 'test':
            return self._images('test/images', -1)
        return self._annotated(labels)

    def _annotated(self, labels: dict) -> List[dict]:
        """The validation images."""
        items = []
        for line in self._lines('val/val_annotations.txt'):
            if not line:
                continue
            name, one = (*line.split('\t'), '')[:2]
            if one not in labels:
                raise ValueError(
                    f'{self._path("val/val_annotations.txt")} gives {name} '
                    f'the class {one!r}, which is not in wnids.txt')
            items.append(dict(img_path=self._path(f'val/images/{name}'),
                              gt_label=labels[one]))
        return items

    def _images(self, folder: str, label: int) -> List[dict]:
        """All images of a folder, under one label."""
        path = self._path(folder)
        if not osp.isdir(path):
            raise self._absent(path)
        return [dict(img_path=osp.join(path, name), gt_label=label)
                for name in sorted(os.listdir(path))
                if name.lower().endswith('.jpeg')]

    def _lines(self, name: str) -> List[str]:
        """The lines of a text file."""
        try:
            with open(self._path(name), encoding='utf-8') as file:
                return [line.strip() for line in file]
        except FileNotFoundError:
            raise self._absent(self._path(name))

    def _path(self, name: str) -> str:
        return osp.join(self.data_root, *name.split('/'))

    def _absent(self, path: str) -> FileNotFoundError:
        return FileNotFoundError(
            f'`data_root` is {self.data_root!r}, but there is no {path}: '
            'expected the folder that the official tiny-imagenet-200.zip '
            'unpacks to. Class folders written by '
            'tools/dataset_converters/tiny_imagenet.py are read by '
            'mmpretrain.CustomDataset')
