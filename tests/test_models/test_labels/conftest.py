"""Samples as mmseg and mmpose pack them."""
import numpy as np
import pytest


@pytest.fixture
def seg_sample():
    """What mmseg packs of a mask, None if there is none."""
    from mmseg.datasets.transforms import PackSegInputs

    def make(mask, **meta):
        results = dict(img=np.zeros((2, 3, 3), np.uint8), **meta)
        if mask is not None:
            results['gt_seg_map'] = np.array(mask, np.uint8)
        return PackSegInputs()(results)['data_samples']

    return make


@pytest.fixture
def pose_sample():
    """What mmpose packs of some instances."""
    from mmpose.datasets.transforms import PackPoseInputs

    def make(visible=None, weights=None, points=None, **meta):
        results = dict(img=np.zeros((2, 3, 3), np.uint8), **meta)
        for key, value in dict(keypoints_visible=visible,
                               keypoint_weights=weights,
                               transformed_keypoints=points).items():
            if value is not None:
                results[key] = np.array(value, np.float32)
        return PackPoseInputs(pack_transformed=True)(results)['data_samples']

    return make
