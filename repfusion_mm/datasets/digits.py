"""The handwritten digits that scikit-learn ships."""
from typing import Any, List

import numpy as np
from mmengine.dataset import BaseDataset

from repfusion_mm.registry import DATASETS

SPLITS = ('train', 'val', 'test')
NUM_VAL, NUM_TEST = 200, 500


@DATASETS.register_module()
class Digits(BaseDataset):
    """1,797 real handwritten digits of 8x8 pixels, shown at 16x16.

    Nothing is downloaded. The images are enlarged bilinearly and given as
    RGB, uint8, (16, 16, 3). Splits are stratified by class and always the
    same: 1,097 images for training, 200 for validation, 500 for testing.

    Args:
        split (str): ``'train'``, ``'val'`` or ``'test'``.
        **kwargs: As for ``mmengine.dataset.BaseDataset``, above all
            ``pipeline``.

    Source: Alpaydin and Kaynak, "Optical Recognition of Handwritten Digits",
    UCI Machine Learning Repository, 1998; scikit-learn's ``load_digits``.

    Example:
        >>> dataset = dict(
        ...     type='repfusion_mm.Digits',
        ...     split='train',
        ...     pipeline=[dict(type='mmpretrain.PackInputs')])
    """
    METAINFO = dict(classes=tuple('0123456789'))

    def __init__(self, split: str, **kwargs: Any) -> None:
        if split not in SPLITS:
            raise ValueError(f'`split` is {split!r}, expected one of {SPLITS}')
        self.split = split
        super().__init__(**kwargs)

    def load_data_list(self) -> List[dict]:
        """Images and labels of the split.

        Returns:
            list[dict]: ``img`` and ``gt_label`` of each image.
        """
        import cv2
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split
        digits = load_digits()
        labels = digits.target
        rest, test = train_test_split(
            np.arange(len(labels)), test_size=NUM_TEST, stratify=labels,
            random_state=0)
        train, val = train_test_split(
            rest, test_size=NUM_VAL, stratify=labels[rest], random_state=0)
        chosen = dict(train=train, val=val, test=test)[self.split]
        images = (digits.images / digits.images.max() * 255).astype(np.uint8)
        return [
            dict(img=np.repeat(cv2.resize(images[i], (16, 16))[..., None], 3,
                               axis=2),
                 gt_label=int(labels[i])) for i in chosen
        ]
