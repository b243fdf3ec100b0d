"""A time step is worth what of the keypoints can be found in z(t)."""
from typing import Any, Dict, Optional, Sequence, Tuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from repfusion_mm.arguments.annotations import Count, Pair, Weight
from repfusion_mm.registry import MODELS

from ..labels import labelled_mask, visible_keypoints
from ..utils.all_processes import masked_mean
from .base import Judgement, Reward, RewardInputs
from .segmentation_reward import map_width

WIDTH, GROUPS = 128, 8  # of the heatmap branch


@MODELS.register_module()
class KeypointReward(Reward):
    """Minus the error of heatmaps that are read from the teacher's feature.

    A small branch, trained along with the student, predicts a heatmap for
    each kind of keypoint. It is compared with a Gaussian around the keypoint,
    or with the maximum of those of all instances. The reward is minus the
    squared error relative to the Gaussians' own squares, averaged over the
    visible keypoints: 0 for perfect heatmaps, -1 for empty ones, whatever the
    number of keypoints, the size and the sigma. Images in which none is
    visible, or which are unlabelled, have no reward and teach it nothing.

    The heatmaps are made here, from the keypoints, so that the task's own
    codec may be any (heatmaps, SimCC, regression, none at all). The pipeline
    must pack them: ``dict(type='PackPoseInputs', pack_transformed=True)``.

    Args:
        num_keypoints (int): Kinds of keypoints, at least 1.
        tap (str, optional): The teacher tap that is read, a map. Defaults to
            the first one.
        heatmap_size (Sequence[int]): Width and height, as in mmpose's codecs.
            Defaults to (32, 32): the map that it is read from is small, too.
        sigma (float): Of the Gaussians, in heatmap pixels, at least 0.5, below
            which they would fall between the pixels. Defaults to 2.
        loss_weight (float): Weight of the branch's own loss. Defaults to 1.
        feature_shapes (dict[str, Sequence[int]]): Shape of each teacher
            feature without the batch. Set by the model.

    Raises:
        ValueError: If one of the arguments is none of these, or the tap is no
            map.

    Source: Yang and Wang, ICCV 2023, section 3.2; for the heatmaps, Tompson
    et al., "Joint Training of a Convolutional Network and a Graphical Model
    for Human Pose Estimation", NeurIPS 2014.

    Example:
        >>> reward = dict(type='repfusion_mm.KeypointReward',
        ...               num_keypoints=17, heatmap_size=(24, 32))
    """
    def __init__(self,
                 num_keypoints: Count,
                 feature_shapes: Dict[str, Sequence[int]],
                 tap: Optional[str] = None,
                 heatmap_size: Pair = (32, 32),
                 sigma: float = 2.,
                 loss_weight: Weight = 1.) -> None:
        super().__init__()
        if sigma < 0.5:
            raise ValueError('`reward.sigma` must be at least 0.5 heatmap '
                             f'pixels, got {sigma}')
        self.tap = tap or next(iter(feature_shapes))
        self.num_keypoints = num_keypoints
        self.heatmap_size = tuple(heatmap_size)
        self.sigma = float(sigma)
        self.loss_weight = loss_weight
        self.branch = nn.Sequential(
            nn.Conv2d(map_width(feature_shapes, self.tap), WIDTH, 1),
            nn.GroupNorm(GROUPS, WIDTH), nn.ReLU(),
            nn.Conv2d(WIDTH, num_keypoints, 1))
        # it starts with empty heatmaps: noise would be far worse than those
        last: Any = self.branch[-1]
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    def forward(self, inputs: RewardInputs) -> Judgement:
        """What the time steps behind some features were worth.

        Args:
            inputs (RewardInputs): With data samples of mmpose that have
                ``gt_instances.transformed_keypoints``, in pixels of the
                image, and their visibility; see :func:`visible_keypoints`.

        Returns:
            tuple: The reward (N,), the mask (N,) of the labelled images with
            a visible keypoint inside, and the branch's own loss,
            ``loss_reward``.

        Raises:
            ValueError: If keypoints are missing, or are not
                ``num_keypoints``.
        """
        # arrays in the host's memory; a GPU need not be waited for
        keypoints, visible, labelled = (
            labels.to(inputs.images.device, non_blocking=True)
            for labels in (*visible_keypoints(inputs.data_samples,
                                              self.num_keypoints),
                           labelled_mask(inputs.data_samples)))
        visible = visible & labelled[:, None, None]
        target, visible = gaussian_heatmaps(
            keypoints, visible, inputs.images.shape[3:1:-1],
            self.heatmap_size, self.sigma)
        # the last 1x1 convolution before the enlargement and not behind it:
        # the two commute, and it is cheaper
        heatmaps = F.interpolate(
            self.branch(inputs.teacher[self.tap].float()).float(),
            self.heatmap_size[::-1], mode='bilinear', align_corners=False)
        energy = target.square().sum((2, 3))
        errors = (heatmaps - target).square().sum((2, 3)) / \
            torch.where(visible, energy, torch.ones_like(energy))
        # invisible: zero times the output, so that DDP sees every gradient
        errors = (errors * visible).sum(1) / visible.sum(1).clamp(min=1)
        mask = visible.any(1)
        return -errors.detach(), mask, dict(
            loss_reward=self.loss_weight * masked_mean(errors, mask))

    def check_dataset(self, dataset: Any) -> None:
        """Make sure, before training, that there are keypoints to reward by.

        Args:
            dataset: Of the training; one without ``get_data_info`` is not
                looked at, nor are annotations that come packed already.

        Raises:
            ValueError: If the data set has another number of keypoints, an
                annotation without any comes first, or none is visible.
        """
        if not hasattr(dataset, 'get_data_info'):
            return
        given = getattr(dataset, 'metainfo', {}).get('num_keypoints')
        if given not in (None, self.num_keypoints):
            raise ValueError(
                f'`reward.num_keypoints` is {self.num_keypoints}, but the '
                f'data set has {given} keypoints')
        for index in range(len(dataset)):
            info = dataset.get_data_info(index)
            if 'data_samples' in info:  # of mmpose's CombinedDataset
                return
            if info.get('keypoints') is None:
                raise ValueError(
                    f'image {index} ({info.get("img_path")}) of '
                    '`train_dataloader.dataset` has no `keypoints`, which '
                    'KeypointReward reads: name an `ann_file` that has some, '
                    'all invisible where an image is unlabelled, or leave '
                    'out `reward` and use FixedTime or UniformTime')
            if np.any(np.asarray(info.get('keypoints_visible', 1)) > 0):
                return
        raise ValueError(
            'KeypointReward needs some labelled images, but none of '
            '`train_dataloader.dataset` has a visible keypoint; leave out '
            '`reward` and use FixedTime or UniformTime')


def gaussian_heatmaps(keypoints: Tensor, visible: Tensor,
                      image_size: Sequence[int], heatmap_size: Pair,
                      sigma: float) -> Tuple[Tensor, Tensor]:
    """A Gaussian of height 1 around each keypoint.

    Pixels are squares around whole numbers in the image as in the heatmap,
    so that both have the same borders, as bilinear resizing sees them.

    Args:
        keypoints (Tensor): (x, y) in image pixels, (N, M, K, 2).
        visible (Tensor): Bool, (N, M, K).
        image_size (Sequence[int]): Width and height.
        heatmap_size (Sequence[int]): Width and height.
        sigma (float): In heatmap pixels.

    Returns:
        tuple: The heatmaps (N, K, height, width), of the maximum over the M
        instances, and whether any instance shows the keypoint inside the
        image, bool, (N, K).
    """
    profiles = []
    for x, side, cells in zip(keypoints.unbind(-1), image_size, heatmap_size):
        visible = visible & (x >= -0.5) & (x < side - 0.5)
        centre = (x + 0.5) * (cells / side) - 0.5
        distance = torch.arange(cells, device=x.device) - centre[..., None]
        profiles.append(torch.exp(-distance.square() / (2 * sigma**2)))
    across, down = profiles
    # unseen keypoints may be anything, NaN included
    across, down = (torch.where(visible[..., None], profile,
                                torch.zeros_like(profile))
                    for profile in (across, down))
    count, _, kinds = visible.shape
    heatmaps = across.new_zeros(count, kinds, *heatmap_size[::-1])
    # one by one: of many instances the heatmaps would fill the memory
    for x, y in zip(across.unbind(1), down.unbind(1)):
        heatmaps = torch.maximum(heatmaps, y[..., None] * x[..., None, :])
    return heatmaps, visible.any(1)
