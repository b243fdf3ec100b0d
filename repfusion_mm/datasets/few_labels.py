"""A data set of which only a few images are labelled."""
import copy
from typing import (
    Any,
    Callable,
    Dict,
    List,
    Optional,
    Sequence,
    Set,
    Tuple,
    Union,
)

import numpy as np
from mmengine.dataset import BaseDataset

from repfusion_mm.arguments.annotations import Index
from repfusion_mm.registry import DATASETS

from ..models.labels import UNLABELLED_PIXEL
from ..models.utils.building import build_dataset
from ..models.utils.dataset_wrappers import inside, source
from .hidden_labels import HiddenMask, classes_of, hide_labels
from .labelled_images import draw, first_of_each, refuse_mixtures

PARTS = ('labelled', 'unlabelled')


@DATASETS.register_module()
class FewLabels(BaseDataset):
    """The labelled or the unlabelled part of a data set of any library.

    Some images, drawn by ``seed``, keep their label: ``labels_per_class`` of
    each class in classification and detection, ``num_labelled`` of all images
    where an image has no class, as in mmseg and mmpose. The part
    ``'labelled'`` holds just these; the part ``'unlabelled'`` all others, with
    the label -1, a mask of nothing but ``ignore_index``, keypoints of which
    none is visible, or no boxes and ``unlabelled=True`` in the meta
    information. Labels are hidden before the first random transform can see
    them. The same arguments draw the same images, so that distillation and
    fine-tuning can be given exactly the same labels.

    It is a data set like any other: another image is drawn, from this part,
    where one cannot be read, and all wrappers of the libraries can be put
    around it. Inside it may be what chooses or repeats images (ConcatDataset,
    RepeatDataset, ClassBalancedDataset, KFoldDataset, another FewLabels); the
    copies of a repeated image are one image to the draw.

    Args:
        dataset (dict or BaseDataset): A data set of mmpretrain, mmseg, mmpose
            or mmdet. With ``labels_per_class=0`` its images need no label.
        labels_per_class (int, optional): Labelled images of each class, as
            the data set's ``gt_label`` or its boxes name it. An image of
            several classes counts for each of them; one of none is not drawn.
            Defaults to None.
        part (str): ``'labelled'`` or ``'unlabelled'``.
        num_labelled (int, optional): Labelled images of the whole data set.
            Defaults to None. With neither, all images are labelled.
        seed (int): Draws the labelled images. Defaults to 0.
        ignore_index (int): What an unlabelled mask is filled with: the
            ``ignore_index`` of the heads and losses that see it. Defaults to
            255.

    Raises:
        ValueError: If both numbers are given, there are fewer images, or what
            ``dataset`` gives is not a single annotated image.

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

    _fully_initialized: bool  # False by BaseDataset

    def __init__(self,
                 dataset: Union[dict, BaseDataset],
                 labels_per_class: Optional[Index] = None,
                 part: str = 'labelled',
                 num_labelled: Optional[Index] = None,
                 seed: Index = 0,
                 ignore_index: int = UNLABELLED_PIXEL) -> None:
        # not MMEngine's: the annotations are those of the data set inside
        if part not in PARTS:
            raise ValueError(f'`part` is {part!r}, expected one of {PARTS}')
        if None not in (labels_per_class, num_labelled):
            raise ValueError(
                f'`labels_per_class` is {labels_per_class} and '
                f'`num_labelled` {num_labelled}; give one of the two')
        self.dataset = build_dataset('dataset', dataset)
        refuse_mixtures(self.dataset)
        self.labels_per_class = labels_per_class
        self.num_labelled = num_labelled
        self.part = part
        self.seed = seed
        self.ignore_index = ignore_index
        self._images: List[int] = []
        self._fully_initialized = False
        if getattr(self.dataset, '_fully_initialized', True):
            self.full_init()

    @property
    def metainfo(self) -> dict:
        """Meta information of the data set inside."""
        return getattr(self.dataset, 'metainfo', {})

    @property
    def pipeline(self) -> Callable:
        """The pipeline of the data set inside, if that is no wrapper."""
        return self.dataset.pipeline

    @pipeline.setter
    def pipeline(self, pipeline: Callable) -> None:
        self.dataset.pipeline = pipeline

    def full_init(self) -> None:
        """Load the annotations and draw the labelled images, once.

        Raises:
            ValueError: As the class.
        """
        if self._fully_initialized:
            return
        if hasattr(self.dataset, 'full_init'):
            self.dataset.full_init()
        sources = first_of_each(self.dataset)
        labelled = self._draw_labelled(sorted(set(sources)))
        self._images = [image for image, one in enumerate(sources)
                        if (one in labelled) == (self.part == 'labelled')]
        # as the first of the images wants it
        inner = source(self.dataset, 0)[0] if sources else None
        self.test_mode = getattr(inner, 'test_mode', False)
        self.max_refetch = getattr(inner, 'max_refetch', 1000)
        self._fully_initialized = True

    def _draw_labelled(self, images: List[int]) -> Set[int]:
        generator = np.random.default_rng(self.seed)
        if 0 in (self.labels_per_class, self.num_labelled):
            return set()
        if self.num_labelled is not None:
            return draw(generator, images, self.num_labelled,
                        '`num_labelled`', 'the data set')
        if self.labels_per_class is None:
            return set(images)
        of_class: Dict[int, List[int]] = {}
        for image in images:
            classes = classes_of(self._annotation(image))
            if classes is None:
                raise ValueError(
                    '`labels_per_class` is given, but the images of '
                    f'{type(self.dataset).__name__} have no `gt_label`; give '
                    '`num_labelled`, a number of images, instead')
            for label in classes:
                of_class.setdefault(label, []).append(image)
        drawn: Set[int] = set()
        for label, images in sorted(of_class.items()):
            drawn |= draw(generator, images, self.labels_per_class,
                          '`labels_per_class`', f'class {label}', drawn)
        return drawn

    def _annotation(self, image: int) -> dict:
        inner, index = source(self.dataset, image)
        return inner.get_data_info(index)

    def get_data_info(self, idx: int) -> dict:
        """Annotation of an image.

        Args:
            idx (int): Its index in this part.

        Returns:
            dict: As the data set's; if unlabelled with ``gt_label`` -1,
            without boxes, or with ``keypoints_visible`` of zeros. A mask is
            only named here, ``unlabelled`` beside it, and hidden as soon as it
            has been loaded.
        """
        self.full_init()
        info = self._annotation(self._images[idx])
        if self.part == 'unlabelled':
            info = hide_labels(info, self.ignore_index)
        return info

    def prepare_data(self, idx: int) -> Any:
        """An image, as the pipeline of its data set makes it.

        Args:
            idx (int): Its index in this part.

        Returns:
            dict, optional: What the pipeline gives; None if it says that the
            image is broken.
        """
        inner, index, hidden = self._leaf(idx)
        pipeline = inner.pipeline
        if hidden is not None:
            pipeline = copy.copy(pipeline)  # of a class of its own, maybe
            pipeline.transforms = [HiddenMask(transform, hidden)
                                   for transform in pipeline.transforms]

        def run(info: dict) -> Any:
            if 'dataset' in info:  # mmpose's mosaics draw from it
                info['dataset'] = self
            return pipeline(info)

        # what its library does before the pipeline is its own
        view = copy.copy(inner)
        view.get_data_info = lambda _: self.get_data_info(idx)
        view.pipeline = run
        return view.prepare_data(index)

    def _leaf(self, idx: int) -> Tuple[BaseDataset, int, Optional[int]]:
        """The innermost data set, the image there, what fills its mask."""
        self.full_init()
        inner: Any = self
        index = range(len(self))[idx]
        hidden = None
        while True:
            if isinstance(inner, FewLabels) and inner.part == 'unlabelled':
                hidden = inner.ignore_index if hidden is None else hidden
            step = inside(inner, index)
            if step is None:
                return inner, index, hidden
            inner, index = step

    def _get_ori_dataset_idx(self, idx: int) -> int:
        """The index in the data set inside, as MMEngine's wrappers have it."""
        return self._images[idx]

    def get_cat_ids(self, idx: int) -> List[int]:
        """Classes of an image, for ``ClassBalancedDataset``.

        Args:
            idx (int): Its index in this part.

        Returns:
            list[int]: As the data set's; empty if the image is unlabelled.
        """
        self.full_init()
        if self.part == 'unlabelled':
            return []
        inner, index = source(self.dataset, self._images[idx])
        return inner.get_cat_ids(index)

    def get_gt_labels(self) -> np.ndarray:
        """The label of each image, as of mmpretrain's data sets.

        Returns:
            np.ndarray: (N,), -1 where an image is unlabelled.
        """
        return np.array([self.get_data_info(idx)['gt_label']
                         for idx in range(len(self))])

    def get_subset_(self, indices: Union[Sequence[int], int]) -> None:
        """Keep some images only.

        Args:
            indices (int or Sequence[int]): Their indices in this part, or how
                many from the start, or, negative, from the end.
        """
        self.full_init()
        if isinstance(indices, int):
            self._images = self._images[:indices] if indices >= 0 else \
                self._images[indices:]
        else:
            self._images = [self._images[idx] for idx in indices]

    def get_subset(self, indices: Union[Sequence[int], int]) -> 'FewLabels':
        """A data set of some images only.

        Args:
            indices (int or Sequence[int]): As :meth:`get_subset_`.

        Returns:
            FewLabels: With the same data set inside.
        """
        subset = copy.copy(self)
        subset.get_subset_(indices)
        return subset

    def __len__(self) -> int:
        self.full_init()
        return len(self._images)
