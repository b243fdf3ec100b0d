import copy

import numpy as np
import pytest
import torch
from mmpretrain.structures import DataSample

from repfusion_mm.models.labels import any_label, labelled_mask

UNLABELLED = [[255] * 3] * 2


def test_labelled_masks(seg_sample):
    batch = [seg_sample([[255, 255, 255], [255, 0, 255]]),
             seg_sample(UNLABELLED), seg_sample([[3] * 3] * 2)]
    mask = labelled_mask(batch)
    assert mask.dtype == torch.bool
    assert mask.tolist() == [True, False, True]


def test_labelled_keypoints(pose_sample):
    batch = [
        pose_sample(visible=[[1, 1]], weights=[[0, 0]]),  # hidden: unlabelled
        pose_sample(visible=[[0, 0]], weights=[[0, 0.5]]),
        pose_sample(visible=[[0, 0], [0, 1]]),  # no weights of the codec
        pose_sample(visible=[[0, 0], [0, 0]]),
        # of KeypointConverter, with weights behind the visibility
        pose_sample(visible=[[[0, 1], [0, 1]]]),
        pose_sample(visible=np.zeros((0, 2)), weights=np.zeros((0, 2))),
    ]
    mask = labelled_mask(batch)
    assert mask.dtype == torch.bool
    assert mask.tolist() == [False, True, True, False, False, False]


def test_labelled_of_several_libraries(samples, seg_sample, pose_sample):
    batch = [samples([-1])[0], seg_sample([[0] * 3] * 2), samples([2])[0],
             pose_sample(weights=[[0, 0]]), seg_sample(UNLABELLED)]
    assert labelled_mask(batch).tolist() == [False, True, True, False, False]


def test_without_dense_label(seg_sample, pose_sample):
    labelled = seg_sample(UNLABELLED)
    for sample, match in (
            (seg_sample(None, img_path='a.png'),
             'gt_sem_seg.*LoadAnnotations.*PackSegInputs.*a.png'),
            (pose_sample(img_path='b.png'),
             'keypoint_weights.*GenerateTarget.*PackPoseInputs.*b.png')):
        with pytest.raises(ValueError, match=match):
            labelled_mask([labelled, sample])


def test_another_ignored_index(seg_sample):
    batch = [seg_sample([[0] * 3] * 2), seg_sample(UNLABELLED),
             seg_sample([[0, 0, 3], [0] * 3])]
    assert labelled_mask(batch, 0).tolist() == [False, True, True]
    assert labelled_mask(batch, 3).tolist() == [True, True, True]
    assert labelled_mask(batch).tolist() == [True, False, True]


@pytest.mark.parametrize('ignore_index', [255, 0, 1])
def test_any_label_of_a_mask(seg_sample, ignore_index):
    sample = seg_sample([[ignore_index] * 3] * 2, img_path='a.png')
    filled = any_label(sample, ignore_index)
    ids = filled.gt_sem_seg.data.unique().tolist()
    assert len(ids) == 1 and ids[0] in {0, 1} - {ignore_index}
    assert filled.gt_sem_seg.data.shape == (1, 2, 3)
    assert filled.img_path == 'a.png'
    assert labelled_mask([sample, filled], ignore_index).tolist() == [
        False, True]


def test_any_label_of_keypoints(pose_sample):
    sample = pose_sample(weights=[[0, 0]])
    filled = any_label(sample)
    assert filled.gt_instance_labels.keypoint_weights.tolist() == [[1, 1]]
    assert labelled_mask([sample, filled]).tolist() == [False, True]
    assert any_label(pose_sample(visible=[[0, 0]])) is not None


@pytest.mark.parametrize('sample, label, score', [
    (DataSample().set_gt_label(-1), [0], None),
    (DataSample().set_gt_score([-1., -1.]), None, [1, 0]),
    (DataSample().set_gt_label(-1).set_gt_score([0., 1.]), [0], [1, 0])])
def test_any_label_of_a_class(sample, label, score):
    before = copy.deepcopy(sample)
    filled = any_label(sample)
    assert label is None or filled.gt_label.tolist() == label
    assert score is None or filled.gt_score.tolist() == score
    assert labelled_mask([sample, filled]).tolist() == [False, True]
    for name in before.keys():
        assert torch.equal(sample.get(name), before.get(name))
