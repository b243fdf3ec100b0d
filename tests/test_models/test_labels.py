import numpy as np
import pytest
import torch
from mmpose.datasets.transforms import PackPoseInputs
from mmpretrain.models import MultiLabelClsHead
from mmpretrain.structures import DataSample
from mmseg.datasets.transforms import PackSegInputs

from repfusion_mm.models.labels import (
    class_labels,
    labelled_mask,
    multi_hot_labels,
    semantic_masks,
    visible_keypoints,
)


def scored(score):
    return DataSample().set_gt_score(score)


def test_labels(samples):
    batch = samples([3, -1, 0, torch.tensor([7])])
    labels = class_labels(batch)
    assert labels.dtype == torch.long
    assert labels.tolist() == [3, -1, 0, 7]
    mask = labelled_mask(batch)
    assert mask.dtype == torch.bool
    assert mask.tolist() == [True, False, True, True]


def test_without_label(samples):
    batch = samples([1]) + [DataSample()]
    for read in (class_labels, labelled_mask,
                 lambda batch: multi_hot_labels(batch, 3)):
        with pytest.raises(ValueError, match='gt_label.*FewLabels'):
            read(batch)


def test_several_labels(samples):
    with pytest.raises(ValueError, match='one `gt_label`'):
        class_labels(samples([1, [2, 3]]))


@pytest.mark.parametrize('label', [4, 9, -2])
def test_no_class(samples, label):
    batch = samples([3, label, -1])
    assert class_labels(batch).tolist() == [3, label, -1]
    for read in (class_labels, multi_hot_labels):
        assert len(read(samples([3, -1, 0]), 4))
        with pytest.raises(ValueError, match=f'{label}.*0 to 3.*-1'):
            read(batch, 4)


def test_multi_hot(samples):
    hot, mask = multi_hot_labels(
        samples([[0, 2], -1, [], [3], [1, 1], [3, 2, 1, 0]]), 4)
    assert hot.dtype == torch.float32 and mask.dtype == torch.bool
    assert hot.tolist() == [[1, 0, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0],
                            [0, 0, 0, 1], [0, 1, 0, 0], [1, 1, 1, 1]]
    assert mask.tolist() == [True, False, True, True, True, True]


def test_multi_hot_when_no_class_applies(samples):
    hot, mask = multi_hot_labels(samples([[], []]), 3)
    assert hot.tolist() == [[0] * 3] * 2
    assert mask.all()


@pytest.mark.parametrize('batch', [
    [DataSample().set_gt_label([0, 2]), DataSample().set_gt_label([])],
    [scored([0.25, 1., 0.]), scored([0., 0., 1.])],
    [scored([0.25, 1., 0.]).set_gt_label([1]),
     scored([0., 0., 0.]).set_gt_label([])],
])
def test_same_targets_as_mmpretrain(batch):
    targets = []

    class Loss(torch.nn.Module):

        def forward(self, scores, target, **kwargs):
            targets.append(target)
            return scores.sum()

    MultiLabelClsHead(loss=Loss()).loss((torch.zeros(2, 3), ), batch)
    hot, mask = multi_hot_labels(batch, 3)
    torch.testing.assert_close(hot, targets[0])
    assert mask.all()


def test_scores_of_unlabelled():
    # what a label of -1 hides is not given away by the scores beside it
    batch = [scored([0., 1.]), scored([1., 1.]).set_gt_label(-1),
             scored([-1., -1.]), scored([1., 0.]).set_gt_label(0),
             DataSample().set_gt_label([1])]
    hot, mask = multi_hot_labels(batch, 2)
    assert mask.tolist() == [True, False, False, True, True]
    assert hot.tolist() == [[0, 1], [0, 0], [0, 0], [1, 0], [0, 1]]
    assert labelled_mask(batch).tolist() == mask.tolist()


def test_scores_of_other_length():
    with pytest.raises(ValueError, match='2 elements.*num_classes` is 3'):
        multi_hot_labels([scored([0., 1.])], 3)


def seg_sample(mask, **meta):
    """What mmseg packs of a mask, None if there is none."""
    results = dict(img=np.zeros((2, 3, 3), np.uint8), **meta)
    if mask is not None:
        results['gt_seg_map'] = np.array(mask, np.uint8)
    return PackSegInputs()(results)['data_samples']


def pose_sample(visible=None, weights=None, points=None, **meta):
    """What mmpose packs of some instances."""
    results = dict(img=np.zeros((2, 3, 3), np.uint8), **meta)
    for key, value in dict(keypoints_visible=visible, keypoint_weights=weights,
                           transformed_keypoints=points).items():
        if value is not None:
            results[key] = np.array(value, np.float32)
    return PackPoseInputs(pack_transformed=True)(results)['data_samples']


UNLABELLED = [[255] * 3] * 2


def test_labelled_masks():
    batch = [seg_sample([[255, 255, 255], [255, 0, 255]]),
             seg_sample(UNLABELLED), seg_sample([[3] * 3] * 2)]
    mask = labelled_mask(batch)
    assert mask.dtype == torch.bool
    assert mask.tolist() == [True, False, True]


def test_labelled_keypoints():
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


def test_labelled_of_several_libraries(samples):
    batch = [samples([-1])[0], seg_sample([[0] * 3] * 2), samples([2])[0],
             pose_sample(weights=[[0, 0]]), seg_sample(UNLABELLED)]
    assert labelled_mask(batch).tolist() == [False, True, True, False, False]


@pytest.mark.parametrize('sample, match', [
    (lambda: seg_sample(None, img_path='a.png'),
     'gt_sem_seg.*LoadAnnotations.*PackSegInputs.*a.png'),
    (lambda: pose_sample(img_path='b.png'),
     'keypoint_weights.*GenerateTarget.*PackPoseInputs.*b.png'),
])
def test_without_dense_label(sample, match):
    labelled = seg_sample(UNLABELLED)
    with pytest.raises(ValueError, match=match):
        labelled_mask([labelled, sample()])


def test_semantic_masks():
    masks = semantic_masks([seg_sample([[0, 1, 255], [2, 2, 2]]),
                            seg_sample(UNLABELLED)], 3)
    assert masks.dtype == torch.long
    assert masks.tolist() == [[[0, 1, 255], [2, 2, 2]], UNLABELLED]
    with pytest.raises(ValueError, match='PackSegInputs.*a.png'):
        semantic_masks([seg_sample(None, img_path='a.png')], 3)


def test_mask_of_no_class():
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


def test_masks_of_several_sizes():
    with pytest.raises(ValueError, match=r'1, 1, 3\), \(1, 2, 3.*size_div'):
        semantic_masks([seg_sample(UNLABELLED), seg_sample([[1, 1, 1]])], 3)
    sample = seg_sample(UNLABELLED)
    sample.gt_sem_seg.data = torch.zeros(2, 2, 3)  # one map for each class
    with pytest.raises(ValueError, match=r'1, H, W.*2, 2, 3'):
        semantic_masks([sample], 3)


def test_visible_keypoints():
    points = [[[1.5, 2], [3, 4]], [[5, 6], [7, 8]]]
    keypoints, visible = visible_keypoints([
        pose_sample(points=points, visible=[[1, 0], [0, 0.3]]),
        pose_sample(points=[[[9, 9, 1], [8, 8, 1]]], weights=[[0, 1]]),
        pose_sample(points=np.zeros((0, 2, 2)), visible=np.zeros((0, 2))),
        # of KeypointConverter, with weights behind the visibility
        pose_sample(points=points[:1], visible=[[[0, 1], [1, 0]]]),
    ], 2)
    assert keypoints.shape == (4, 2, 2, 2)
    assert keypoints.dtype == torch.float32
    assert keypoints[0].tolist() == points
    assert keypoints[1, 0].tolist() == [[9, 9], [8, 8]]
    assert visible.dtype == torch.bool
    assert visible.tolist() == [[[True, False], [False, True]],
                                [[False, True], [False, False]],
                                [[False, False], [False, False]],
                                [[False, True], [False, False]]]


@pytest.mark.parametrize('fields, match', [
    (dict(visible=[[1, 1]]), 'pack_transformed=True.*KeyMapper.*a.jpg'),
    (dict(points=[[[1, 1]] * 2]), 'keypoints_visible.*a.jpg.*neither'),
    (dict(points=[[[1, 1]] * 3], visible=[[1] * 3]),
     'a.jpg.*3 keypoints.*`reward.num_keypoints` is 2'),
])
def test_without_keypoints(fields, match):
    with pytest.raises(ValueError, match=match):
        visible_keypoints([pose_sample(img_path='a.jpg', **fields)], 2)


def test_no_keypoints_at_all(samples):
    with pytest.raises(ValueError, match='transformed_keypoints'):
        visible_keypoints(samples([1]), 2)
    with pytest.raises(ValueError, match='gt_sem_seg'):
        semantic_masks(samples([1]), 2)
