"""Images that were decoded once, in a file."""
import numpy as np
from mmengine.dataset import BaseDataset

from repfusion_mm.registry import DATASETS


@DATASETS.register_module()
class ImageArray(BaseDataset):
    """Images of one size and their labels, from a NumPy archive.

    Many short trainings, one after another, would else decode all images
    anew each time, which takes as long as they do.

    Args:
        ann_file (str): ``.npz`` with ``images``, (N, H, W, 3), uint8, RGB,
            and ``labels``, (N,).
    """

    def load_data_list(self):
        found = np.load(self.ann_file)
        shape = found['images'].shape[1:3]
        return [
            dict(img=image, gt_label=int(label), img_path=f'{index:06}',
                 img_shape=shape, ori_shape=shape)
            for index, (image, label) in enumerate(
                zip(found['images'], found['labels']))]
