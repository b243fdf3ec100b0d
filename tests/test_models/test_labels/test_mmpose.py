import numpy as np
import pytest
import torch

from repfusion_mm.models.labels import semantic_masks, visible_keypoints


def test_visible_keypoints(pose_sample):
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
def test_without_keypoints(pose_sample, fields, match):
    with pytest.raises(ValueError, match=match):
        visible_keypoints([pose_sample(img_path='a.jpg', **fields)], 2)


def test_no_keypoints_at_all(samples):
    with pytest.raises(ValueError, match='transformed_keypoints'):
        visible_keypoints(samples([1]), 2)
    with pytest.raises(ValueError, match='gt_sem_seg'):
        semantic_masks(samples([1]), 2)
