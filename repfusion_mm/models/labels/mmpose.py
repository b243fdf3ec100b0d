"""Keypoints of mmpose's data samples."""
import copy
from typing import Any, Optional, Sequence, Tuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from .checks import file_of

NO_VISIBILITY = (
    'each data sample must hold `gt_instance_labels.keypoint_weights` or '
    '`gt_instances.keypoints_visible` (all zero where the image is '
    'unlabelled): put `GenerateTarget` before `PackPoseInputs` in the '
    'pipeline of mmpose')
NO_KEYPOINTS = (
    'each data sample must hold `gt_instances.transformed_keypoints`, in '
    'pixels of the input image: write `PackPoseInputs` with '
    '`pack_transformed=True` in the pipeline of mmpose. In one without '
    '`TopdownAffine`, whose transforms change `keypoints` itself, also put '
    "dict(type='KeyMapper', mapping=dict(transformed_keypoints='keypoints'), "
    "remapping=dict(transformed_keypoints='transformed_keypoints')) before it")


def visible_keypoints(data_samples: Sequence,
                      num_keypoints: int) -> Tuple[Tensor, Tensor]:
    """Keypoints of each instance of each sample.

    Args:
        data_samples (Sequence[PoseDataSample]): mmpose's, each with
            ``gt_instances.transformed_keypoints`` of (instances, K, 2 or 3)
            and a visibility of each, ``gt_instances.keypoints_visible`` or
            ``gt_instance_labels.keypoint_weights``.
        num_keypoints (int): K of the reward that reads them.

    Returns:
        tuple: The keypoints (x, y) in pixels of the input image, float32,
        (N, M, K, 2) for at most M instances an image, and whether each is
        visible, bool, (N, M, K), which it is not where an image has fewer.

    Raises:
        ValueError: If a sample lacks one of them, or has another number of
            keypoints.
    """
    keypoints, visible = [], []
    for sample in data_samples:
        points = sample.get('gt_instances', {}).get('transformed_keypoints')
        if points is None:
            raise ValueError(f'{NO_KEYPOINTS}; {file_of(sample)} has none')
        if points.shape[1] != num_keypoints:
            raise ValueError(
                f'{file_of(sample)} has {points.shape[1]} keypoints, but '
                f'`reward.num_keypoints` is {num_keypoints}')
        seen = _keypoints_visible(sample)
        if seen is None:
            seen = _keypoint_weights(sample)
        if seen is None:
            raise ValueError(f'{NO_VISIBILITY}; {file_of(sample)} has neither')
        keypoints.append(torch.as_tensor(points[..., :2]).float())
        visible.append(seen > 0)
    return (pad_sequence(keypoints, batch_first=True),
            pad_sequence(visible, batch_first=True))


def mark(sample: Any) -> Optional[Tensor]:
    """Whether a sample has a keypoint that counts.

    Args:
        sample (BaseDataElement): Of any library.

    Returns:
        Tensor, optional: Bool, (); None for a sample without keypoints.

    Raises:
        ValueError: If it is mmpose's, and has none.
    """
    weights = _keypoint_weights(sample)
    if weights is None:
        weights = _keypoints_visible(sample)
    if weights is not None:
        return (weights != 0).any()
    if type(sample).__name__ == 'PoseDataSample':
        raise ValueError(f'{NO_VISIBILITY}; {file_of(sample)} has none')
    return None


def any_keypoints(sample: Any) -> Any:
    """A copy of a sample, every keypoint of which counts.

    Args:
        sample (PoseDataSample): With keypoint weights, or without.

    Returns:
        PoseDataSample: The copy, or the sample itself.
    """
    weights = _keypoint_weights(sample)
    if weights is None:
        return sample
    sample, labels = copy.copy(sample), copy.copy(sample.gt_instance_labels)
    labels.keypoint_weights = torch.ones_like(weights)
    sample.gt_instance_labels = labels
    return sample


def _keypoint_weights(sample: Any) -> Optional[Tensor]:
    """Of mmpose's sample, (instances, K), if its codec makes them."""
    return sample.get('gt_instance_labels', {}).get('keypoint_weights')


def _keypoints_visible(sample: Any) -> Optional[Tensor]:
    """Of mmpose's sample, (instances, K), if it has any.

    It is packed as an array. Without `GenerateTarget`, KeypointConverter's
    has weights behind it, (instances, K, 2).
    """
    visible = sample.get('gt_instances', {}).get('keypoints_visible')
    if visible is None:
        return None
    return torch.as_tensor(visible if visible.ndim < 3 else visible[..., 0])
