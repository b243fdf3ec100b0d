"""A data set of which only a few images are labelled."""
from typing import List, Optional, Union

import numpy as np
from mmengine.dataset import BaseDataset

from repfusion_mm.registry import DATASETS

from ..models.labels import UNLABELLED_PIXEL

PARTS = ('labelled', 'unlabelled')
UNLABELLED = -1


@DATASETS.register_module()
class FewLabels:
    """The labelled or the unlabelled part of a data set of any library.

    Some images, drawn by ``seed``, keep their label: ``labels_per_class`` of
    each class in classification, ``num_labelled`` of all images where an image
    has no class, as in mmseg and mmpose. The part ``'labelled'`` holds just
    these; the part ``'unlabelled'`` all others, with the label -1, a mask of
    nothing but 255, or keypoints of which none is visible. The same arguments
    draw the same images, so that distillation and fine-tuning can be given
    exactly the same labels.

    Args:
        dataset (dict or BaseDataset): A data set of mmpretrain, mmseg or
            mmpose. With ``labels_per_class=0`` its images need no label.
        labels_per_class (int, optional): Labelled images of each class, as
            the data set's ``gt_label`` names it. Defaults to None.
        part (str): ``'labelled'`` or ``'unlabelled'``.
        num_labelled (int, optional): Labelled images of the whole data set.
            Defaults to None. With neither, all images are labelled.
        seed (int): Draws the labelled images. Defaults to 0.

    Raises:
        ValueError: If both numbers are given, or there are fewer images.

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
                 labels_per_class: Optional[int] = None,
                 part: str = 'labelled',
                 num_labelled: Optional[int] = None,
                 seed: int = 0) -> None:
        if part not in PARTS:
            raise ValueError(f'`part` is {part!r}, expected one of {PARTS}')
        if None not in (labels_per_class, num_labelled):
            raise ValueError(
                f'`labels_per_class` is {labels_per_class} and '
                f'`num_labelled` {num_labelled}; give one of the two')
        for name, number in (('labels_per_class', labels_per_class),
                             ('num_labelled', num_labelled)):
            if number is not None and number < 0:
                raise ValueError(f'`{name}` must not be negative, got '
                                 f'{number}')
        self.dataset = DATASETS.build(dataset) if isinstance(dataset, dict) \
            else dataset
        self.labels_per_class = labels_per_class
        self.num_labelled = num_labelled
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
        images = np.arange(len(self.dataset))
        generator = np.random.default_rng(self.seed)
        if 0 in (self.labels_per_class, self.num_labelled):
            return set()
        if self.num_labelled is not None:
            return _draw(generator, images, self.num_labelled,
                         '`num_labelled`', 'the data set')
        if self.labels_per_class is None:
            return set(images.tolist())
        infos = [self.dataset.get_data_info(i) for i in images.tolist()]
        if any('gt_label' not in info for info in infos):
            raise ValueError(
                '`labels_per_class` is given, but the images of '
                f'{type(self.dataset).__name__} have no `gt_label`; give '
                '`num_labelled`, a number of images, instead')
        labels = np.array([info['gt_label'] for info in infos])
        return set().union(*(
            _draw(generator, images[labels == label], self.labels_per_class,
                  '`labels_per_class`', f'class {label}')
            for label in np.unique(labels[labels >= 0])))

    def get_data_info(self, idx: int) -> dict:
        """Annotation of an image.

        Args:
            idx (int): Its index in this part.

        Returns:
            dict: As the data set's; if unlabelled with ``gt_label`` -1, or
            with ``keypoints_visible`` of zeros. A mask is only named here,
            ``unlabelled`` beside it, and hidden when it has been loaded.
        """
        self.full_init()
        info = self.dataset.get_data_info(self._indices[idx])
        if self.part == 'unlabelled':
            if 'keypoints_visible' in info:
                info['keypoints_visible'] = np.zeros_like(
                    info['keypoints_visible'])
            elif 'seg_map_path' in info:
                info['unlabelled'] = True
            else:
                info['gt_label'] = UNLABELLED
                info.pop('gt_score', None)
        return info

    def __getitem__(self, idx: int) -> dict:
        item = self.dataset.pipeline(self.get_data_info(idx))
        mask = item['data_samples'].get('gt_sem_seg') \
            if self.part == 'unlabelled' else None
        if mask is not None:
            mask.data.fill_(UNLABELLED_PIXEL)
        return item

    def __len__(self) -> int:
        self.full_init()
        return len(self._indices)


def _draw(generator: np.random.Generator, images: np.ndarray, number: int,
          name: str, owner: str) -> set:
    if len(images) < number:
        raise ValueError(f'{name} is {number}, but {owner} has only '
                         f'{len(images)} images')
    return set(generator.choice(images, number, replace=False).tolist())
