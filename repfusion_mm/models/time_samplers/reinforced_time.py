"""Time steps drawn by a policy that learns which of them are worth it."""
from typing import Dict, List, Optional, Tuple

import torch
from mmengine.dist import get_world_size
from torch import Tensor, nn
from torch.distributions import Categorical

from repfusion_mm.registry import MODELS

from ..all_processes import sum_of_all
from ..building import build_part
from .time_sample import TimeSample

BASELINES = ('leave_one_out', 'none')


@MODELS.register_module()
class ReinforcedTime(nn.Module):
    """A policy pi(t | x), trained with REINFORCE by the reward of the t drawn.

    The loss is -(log pi(t | x) * (reward - baseline)) minus an entropy bonus,
    whose weight :class:`TimeSamplerHook` takes to zero over training.

    Args:
        num_timesteps (int): Time steps are drawn from [0, num_timesteps).
            Defaults to 1000.
        num_bins (int, optional): The policy chooses one of so many equal
            ranges, and t is drawn uniformly inside it: fewer choices are
            learnt from fewer rewards. Defaults to None: each t is a choice
            of its own, as published.
        policy (dict): The policy network. Defaults to the published
            :class:`LeNetPolicy`.
        entropy_weight (float): Weight of the entropy bonus at the start.
            Defaults to 0.1, as published.
        baseline (str): What is subtracted from the reward, which leaves the
            gradient's mean as it is and lowers its variance.
            ``'leave_one_out'``: the mean reward of the other labelled images
            of the batch, on all processes. ``'none'``: nothing, as
            published. Defaults to ``'leave_one_out'``.

    Source: Yang and Wang, ICCV 2023, section 3.2; Williams, "Simple
    statistical gradient-following algorithms", 1992; Kool et al., "Buy 4
    REINFORCE samples, get a baseline for free!", 2019.

    Example:
        >>> time_sampler = dict(
        ...     type='repfusion_mm.ReinforcedTime',
        ...     num_timesteps=1000,
        ...     num_bins=100,
        ...     policy=dict(type='repfusion_mm.LeNetPolicy', image_size=32),
        ...     entropy_weight=0.1)
    """

    def __init__(self,
                 num_timesteps: int = 1000,
                 num_bins: Optional[int] = None,
                 policy: dict = dict(type='repfusion_mm.LeNetPolicy'),
                 entropy_weight: float = 0.1,
                 baseline: str = 'leave_one_out') -> None:
        super().__init__()
        if num_bins is None:
            num_bins = num_timesteps
        if num_timesteps < 1 or num_bins < 1 or num_timesteps % num_bins:
            raise ValueError('`time_sampler.num_bins` must divide '
                             f'`num_timesteps`, got {num_bins} and '
                             f'{num_timesteps}')
        if entropy_weight < 0:
            raise ValueError('`time_sampler.entropy_weight` must be at least '
                             f'0, got {entropy_weight}')
        if baseline not in BASELINES:
            raise ValueError(f'`time_sampler.baseline` is {baseline!r}, '
                             f'expected one of {BASELINES}')
        self.bin_width = num_timesteps // num_bins
        self.max_timestep = num_timesteps - 1
        self.num_ranges = 1
        self.entropy_weight = entropy_weight
        self.baseline = baseline
        self.policy = build_part('time_sampler.policy', policy,
                                 num_actions=num_bins)

    @property
    def ranges(self) -> List[Tuple[int, int]]:
        """Where t is drawn from: [low, high), for each range."""
        return [(0, self.max_timestep + 1)]

    def distribution(self, images: Tensor) -> Categorical:
        """pi(. | x) over the bins.

        Args:
            images (Tensor): Raw images, RGB, 0 to 255, (N, 3, H, W).

        Returns:
            Categorical: Of batch shape (N,), in float32.
        """
        return Categorical(logits=self.policy(images).float(),
                           validate_args=False)

    def forward(self, images: Tensor) -> TimeSample:
        """Draw time steps for a batch.

        Args:
            images (Tensor): Raw images, RGB, 0 to 255, (N, 3, H, W).

        Returns:
            TimeSample: The time steps, with log-probability and entropy of
            the bins they were drawn from.
        """
        policy = self.distribution(images)
        bins = _draw(policy.probs.detach())
        within = torch.randint_like(bins, self.bin_width)
        return TimeSample(bins * self.bin_width + within,
                          policy.log_prob(bins), policy.entropy())

    def loss(self, sample: TimeSample, reward: Tensor,
             mask: Tensor) -> Dict[str, Tensor]:
        """REINFORCE on the samples that have a reward.

        Args:
            sample (TimeSample): What :meth:`forward` drew.
            reward (Tensor): What each t was worth, (N,).
            mask (Tensor): Bool, (N,): which rewards count.

        Returns:
            dict[str, Tensor]: ``loss_policy`` and ``loss_entropy``, scalars.
        """
        weight = mask.to(reward.dtype)
        advantage = reward.detach()
        # sums instead of masked indexing: no synchronisation on a GPU
        total, count = sum_of_all((advantage * weight).sum(), weight.sum())
        if self.baseline == 'leave_one_out':
            others = total - advantage
            advantage = torch.where(
                count > 1, advantage - others / (count - 1).clamp(min=1),
                torch.zeros_like(advantage))
        loss_policy = -(advantage * weight * sample.log_prob).sum() * \
            get_world_size() / count.clamp(min=1)
        return dict(loss_policy=loss_policy,
                    loss_entropy=-self.entropy_weight * sample.entropy.mean())


def _draw(probs: Tensor) -> Tensor:
    """One draw from each distribution, without waiting for a GPU.

    Of exponential waiting times at these rates the shortest is each one's
    with its probability. ``Categorical.sample`` draws the same, number for
    number, from the same random state, but torch 2.1 first reads from the GPU
    whether the probabilities are valid; here :class:`FiniteCheck` looks, at
    the loss.

    Args:
        probs (Tensor): Float, (N, A).

    Returns:
        Tensor: Long, (N,), from 0 to A - 1.
    """
    return (probs / torch.empty_like(probs).exponential_()).argmax(1)
