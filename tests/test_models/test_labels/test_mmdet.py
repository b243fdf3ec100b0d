import numpy as np
import pytest
import torch

from repfusion_mm.models.labels import any_label, labelled_mask, note_labelled

pytest.importorskip('mmdet')


@pytest.fixture
def det_sample():
    """What mmdet packs of some boxes."""
    from mmdet.datasets.transforms import PackDetInputs

    def make(number, meta_keys=('img_path', 'unlabelled'), **meta):
        return PackDetInputs(meta_keys=meta_keys)(dict(
            img=np.zeros((8, 8, 3), np.uint8),
            gt_bboxes=np.ones((number, 4), np.float32),
            gt_bboxes_labels=np.zeros(number, np.int64),
            gt_ignore_flags=np.zeros(number, bool), **meta))['data_samples']

    return make


def test_without_boxes_is_a_label(det_sample):
    batch = [det_sample(2), det_sample(0), det_sample(0, unlabelled=True),
             det_sample(0, unlabelled=False)]
    mask = labelled_mask(batch)
    assert mask.dtype == torch.bool
    assert mask.tolist() == [True, True, False, True]
    note_labelled(batch)
    assert [one.labelled for one in batch] == mask.tolist()
    assert any_label(batch[2]) is batch[2]


def test_mosaic_of_both_kinds(det_sample):
    with pytest.raises(ValueError, match="'a.jpg' is `unlabelled` and has 1 "
                       'boxes: .*ConcatDataset around both'):
        labelled_mask([det_sample(1, unlabelled=True, img_path='a.jpg')])
