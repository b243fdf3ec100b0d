"""A data set of which only a few images are labelled."""
from typing import List, Optional, Union

import numpy as np
from mmengine.dataset import BaseDataset

from repfusion_mm.registry import DATASETS

PARTS = ('labelled', 'unlabelled')
UNLABELLED = -1


@DATASETS.register_module()
class FewLabels:
    """The labelled or the unlabelled part of a classification data set.

    ``labels_per_class`` images of each class, drawn by ``seed``, keep their
    label. The part ``'labelled'`` holds just these; the part ``'unlabelled'``
    all others, with the label -1. The same arguments draw the same images, so
    that distillation and fine-tuning can be given exactly the same labels.

    Args:
        dataset (dict or BaseDataset): A data set with ``gt_label``; with
            ``labels_per_class=0`` any data set of images.
        labels_per_class (int, optional): Labelled images of each class. None
            keeps all labels.
        part (str): ``'labelled'`` or ``'unlabelled'``.
        seed (int): Draws the labelled images. Defaults to 0.

    Raises:
        ValueError: If a class has fewer images.

    Example:
        >>> digits = dict(type='repfusion_mm.Digits', split='train',
        ...               pipeline=[dict(type='mmpretrain.PackInputs')])
        >>> dataset = dict(
        ...     type='ConcatDataset',
        ...     datasets=[
        ...         dict(type='repfusion_mm.FewLabels', dataset=digits,
        ...              labels_per_class=2, part='unlabelled'),
        ...         dict(type='RepeatDataset', times=18,
        ...              dataset=dict(type='repfusion_mm.FewLabels',
        ...                           dataset=digits, labels_per_class=2,
        ...                           part='labelled'))])
    """

    def __init__(self,
                 dataset: Union[dict, BaseDataset],
                 labels_per_class: Optional[int],
                 part: str,
                 seed: int = 0) -> None:
        if part not in PARTS:
            raise ValueError(f'`part` is {part!r}, expected one of {PARTS}')
        if labels_per_class is not None and labels_per_class < 0:
            raise ValueError('`labels_per_class` must not be negative, got '
                             f'{labels_per_class}')
        self.dataset = DATASETS.build(dataset) if isinstance(dataset, dict) \
            else dataset
        self.labels_per_class = labels_per_class
        self.part = part
        self.seed = seed
        self._indices: Optional[List[int]] = None
        if self.dataset._fully_initialized:
            self.full_init()

    @property
    def metainfo(self) -> dict:
        """Meta information of the data set underneath."""
        return self.dataset.metainfo

    def full_init(self) -> None:
        """Load the annotations and draw the labelled images, once."""
        if self._indices is not None:
            return
        self.dataset.full_init()
        labelled = self._draw_labelled()
        self._indices = sorted(labelled) if self.part == 'labelled' else \
            sorted(set(range(len(self.dataset))) - labelled)

    def _draw_labelled(self) -> set:
        if self.labels_per_class is None:
            return set(range(len(self.dataset)))
        if self.labels_per_class == 0:
            return set()
        labels = np.array([self.dataset.get_data_info(i)['gt_label']
                           for i in range(len(self.dataset))])
        generator = np.random.default_rng(self.seed)
        chosen: set = set()
        for label in np.unique(labels[labels >= 0]):
            candidates = np.flatnonzero(labels == label)
            if len(candidates) < self.labels_per_class:
                raise ValueError(
                    f'`labels_per_class` is {self.labels_per_class}, but '
                    f'class {label} has only {len(candidates)} images')
            chosen |= set(generator.choice(
                candidates, self.labels_per_class, replace=False).tolist())
        return chosen

    def get_data_info(self, idx: int) -> dict:
        """Annotation of an image.

        Args:
            idx (int): Its index in this part.

        Returns:
            dict: As the data set's, with ``gt_label`` -1 if unlabelled.
        """
        self.full_init()
        info = self.dataset.get_data_info(self._indices[idx])
        if self.part == 'unlabelled':
            info['gt_label'] = UNLABELLED
            info.pop('gt_score', None)
        return info

    def __getitem__(self, idx: int) -> dict:
        return self.dataset.pipeline(self.get_data_info(idx))

    def __len__(self) -> int:
        self.full_init()
        return len(self._indices)
