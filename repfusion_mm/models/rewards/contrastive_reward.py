"""A time step is worth how well z(t) tells images apart, without labels."""
from typing import Dict, Optional, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from repfusion_mm.arguments.annotations import Count, Positive, Weight
from repfusion_mm.registry import MODELS

from ..losses.pooled import pooled
from ..utils.all_processes import masked_mean
from .base import Judgement, Reward, RewardInputs


@MODELS.register_module()
class ContrastiveReward(Reward):
    """Log-probability of finding an image's other view among the batch.

    A second view of each image, cropped and mirrored at random on the device,
    goes through the teacher at the same t. A projection of both features is
    trained to match the views of one image, and the reward of t_i is minus
    the InfoNCE loss of image i. No labels are read: every image counts.

    Features at different t differ by more than their images do, so that a
    batch of mixed t could be told apart by t alone. The features are therefore
    standardised with running statistics of their own range of t first. Until
    a range has been seen often enough for statistics, its images have no
    reward.

    Args:
        feature_shapes (dict[str, Sequence[int]]): Shape of each teacher
            feature without the batch. Set by the model.
        num_timesteps (int): Of the teacher. Set by the model.
        tap (str, optional): The teacher tap that is read. Defaults to the
            first one.
        embed_dim (int): Width of the projection. Defaults to 64.
        temperature (float): Divides the cosine similarities. Defaults to 0.1.
        min_crop (float): The second view shows at least this share of each
            side. Defaults to 0.7.
        loss_weight (float): Weight of the projection's own loss. Defaults
            to 1.

    Source: van den Oord et al., "Representation Learning with Contrastive
    Predictive Coding", 2018, equation 4.

    Example:
        >>> reward = dict(type='repfusion_mm.ContrastiveReward')
    """
    reads_labels = False
    shows_views = True  # to the teacher, of its own making
    least_images = 2
    num_ranges = 20  # of t, with statistics of their own
    momentum = 0.05
    least_seen = 32  # views of a range before its statistics are used
    mean: Tensor
    square: Tensor
    seen: Tensor

    def __init__(self,
                 feature_shapes: Dict[str, Sequence[int]],
                 num_timesteps: Count = 1000,
                 tap: Optional[str] = None,
                 embed_dim: Count = 64,
                 temperature: Positive = 0.1,
                 min_crop: float = 0.7,
                 loss_weight: Weight = 1.) -> None:
        super().__init__()
        if not 0 < min_crop <= 1:
            raise ValueError('`reward.min_crop` is a share of the side, above '
                             f'0 and up to 1, got {min_crop}')
        self.tap = tap or next(iter(feature_shapes))
        self.num_timesteps = num_timesteps
        self.temperature = temperature
        self.min_crop = min_crop
        self.loss_weight = loss_weight
        width = feature_shapes[self.tap][0]
        self.projector = nn.Linear(width, embed_dim)
        self.register_buffer('mean', torch.zeros(self.num_ranges, width))
        self.register_buffer('square', torch.ones(self.num_ranges, width))
        self.register_buffer('seen', torch.zeros(self.num_ranges, 1))

    def forward(self, inputs: RewardInputs) -> Judgement:
        """What the time steps behind some features were worth.

        Args:
            inputs (RewardInputs): With its ``look``.

        Returns:
            tuple: The reward (N,), a mask (N,) of the images whose range of t
            is known, and the projection's own loss, ``loss_reward``.

        Raises:
            ValueError: If the batch has a single image, which has none to be
                told apart from.
        """
        images, look = inputs.images, inputs.look
        assert look is not None  # the model gives it
        if len(images) < self.least_images:
            raise ValueError('ContrastiveReward tells images of a batch '
                             'apart: `train_dataloader.batch_size` must be at '
                             'least 2 a process')
        first, second = (
            pooled(f[self.tap])
            for f in (inputs.teacher, look(self.second_view(images))))
        ranges = inputs.timesteps * self.num_ranges // self.num_timesteps
        with torch.autocast(images.device.type, enabled=False):
            if self.training:
                self._update(torch.cat([first, second]), ranges.repeat(2))
            one, two = (F.normalize(self.projector(
                self._standardise(f, ranges)), dim=1) for f in (first, second))
            similarity = one @ two.T / self.temperature
        target = torch.arange(len(images), device=images.device)
        loss = (F.cross_entropy(similarity, target, reduction='none') +
                F.cross_entropy(similarity.T, target, reduction='none')) / 2
        mask = self.seen[ranges, 0] >= self.least_seen
        loss = loss * mask
        return -loss.detach(), mask, dict(
            loss_reward=self.loss_weight * masked_mean(loss, mask))

    def second_view(self, images: Tensor) -> Tensor:
        """Each image cropped, enlarged and mirrored at random.

        Args:
            images (Tensor): (N, 3, H, W).

        Returns:
            Tensor: Alike.
        """
        n = len(images)
        share = self.min_crop + \
            (1 - self.min_crop) * torch.rand_like(images.new_empty(n))
        shift = (2 * torch.rand_like(images.new_empty(2, n)) - 1) * \
            (1 - share)
        mirror = torch.randint(2, (n, ), device=images.device) * 2 - 1
        affine = images.new_zeros(n, 2, 3)
        affine[:, 0, 0], affine[:, 1, 1] = share * mirror, share
        affine[:, :, 2] = shift.T
        grid = F.affine_grid(affine, list(images.shape), align_corners=False)
        return F.grid_sample(images, grid, align_corners=False,
                             padding_mode='reflection')

    @torch.no_grad()
    def _update(self, features: Tensor, ranges: Tensor) -> None:
        member = F.one_hot(ranges, self.num_ranges).to(features.dtype)
        count = member.sum(0)[:, None]
        share = count.clamp(min=1)
        # a true mean at first, a running one later
        rate = (count / (self.seen + count).clamp(min=1)).clamp(
            min=self.momentum) * (count > 0)
        self.mean += rate * (member.T @ features / share - self.mean)
        self.square += rate * (
            member.T @ features**2 / share - self.square)
        self.seen += count

    def _standardise(self, features: Tensor, ranges: Tensor) -> Tensor:
        spread = (self.square - self.mean**2).clamp(min=1e-6).sqrt()
        return (features - self.mean[ranges]) / spread[ranges]
