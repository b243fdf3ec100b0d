import numpy as np
import pytest
import torch

from repfusion_mm.models.labels import check_masks, semantic_masks

UNLABELLED = [[255] * 3] * 2


def test_semantic_masks(seg_sample):
    masks = semantic_masks([seg_sample([[0, 1, 255], [2, 2, 2]]),
                            seg_sample(UNLABELLED)], 3)
    assert masks.dtype == torch.long
    assert masks.tolist() == [[[0, 1, 255], [2, 2, 2]], UNLABELLED]
    with pytest.raises(ValueError, match='PackSegInputs.*a.png'):
        semantic_masks([seg_sample(None, img_path='a.png')], 3)


def test_mask_of_no_class(seg_sample):
    batch = [seg_sample([[0, 1, 255], [2, 2, 2]]),
             seg_sample([[7, 3, 0], [7, 255, 9]], img_path='i.jpg',
                        seg_map_path='m.png')]
    semantic_masks(batch, 10)
    with pytest.raises(ValueError) as error:
        semantic_masks(batch, 3)
    for part in ("'m.png'", '3, 7, 9', '`reward.num_classes` is 3', '0 to 2',
                 '`reward.ignore_index`, 255'):
        assert part in str(error.value)
    with pytest.raises(ValueError, match='ids 255.*ignore_index`, 9'):
        semantic_masks(batch, 8, ignore_index=9)
    with pytest.raises(ValueError, match='ids -1, 300'):
        sample = seg_sample([[0, 0]])
        sample.gt_sem_seg.data = torch.tensor([[[-1, 300]]])
        semantic_masks([sample], 3)


def test_masks_of_several_sizes(seg_sample):
    with pytest.raises(ValueError, match=r'1, 1, 3\), \(1, 2, 3.*size_div'):
        semantic_masks([seg_sample(UNLABELLED), seg_sample([[1, 1, 1]])], 3)
    sample = seg_sample([[255] * 9] * 9)
    sample.gt_sem_seg.data = torch.zeros(2, 9, 9)  # one map for each class
    with pytest.raises(ValueError, match=r'1, H, W.*2, 9, 9'):
        semantic_masks([sample], 3)


def test_hidden_by_another_index(seg_sample):
    """FewLabels hides masks by 255, where the head ignores 0."""
    batch = [seg_sample(UNLABELLED)]
    check_masks(batch, 5)
    with pytest.raises(ValueError, match='FewLabels.*`ignore_index=0`'):
        check_masks(batch, 5, ignore_index=0)
    with pytest.raises(ValueError) as error:
        check_masks([seg_sample([[9, 0]])], 5)
    assert 'FewLabels' not in str(error.value)


@pytest.mark.parametrize('channels', [2, 3, 4])
def test_picture_in_place_of_a_mask(tmp_path, channels):
    """A file of colours, as mmseg itself reads and packs it."""
    from mmseg.datasets.transforms import LoadAnnotations, PackSegInputs
    from PIL import Image
    path = str(tmp_path / 'colours.png')
    Image.fromarray(np.zeros((16, 12, channels), np.uint8).squeeze()).save(
        path)
    results = LoadAnnotations()(dict(seg_map_path=path, seg_fields=[],
                                     reduce_zero_label=False))
    sample = PackSegInputs()(results)['data_samples']
    assert sample.gt_sem_seg.data.shape == (16, 12, channels)
    for read in (check_masks, semantic_masks):
        with pytest.raises(ValueError) as error:
            read([sample], 5)
        for part in (path, f'(16, 12, {channels})', '`data_prefix.seg_map_pa',
                     'Convert the colours to ids', 'imdecode_backend'):
            assert part in str(error.value)
