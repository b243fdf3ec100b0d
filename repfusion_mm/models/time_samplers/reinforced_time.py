"""Time steps drawn by a policy that learns which of them are worth it."""
from typing import Any, Dict, List, Optional, Tuple, Union

import torch
from mmengine.dist import get_world_size
from torch import Tensor, nn
from torch.distributions import Categorical

from repfusion_mm.arguments.annotations import Count, Weight
from repfusion_mm.registry import MODELS

from ..utils.all_processes import sum_of_all
from ..utils.building import build_part
from .fit_policy import fit_policy
from .look_options import look_options
from .looked_values import at_centres
from .time_sample import TimeSample

BASELINES = ('leave_one_out', 'none')
LEAST_FOUND = -10.  # log-probability: what looked bad may still be tried


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
        look (bool or dict): Whether all time steps are looked at before the
            training, by :class:`TimeSamplerHook`, and the policy starts from
            what they are worth; a dict says how, see :class:`LookOptions`.
            The entropy is then the one relative to what the look found: the
            bonus draws the policy there, and not to all time steps alike.
            Defaults to False: the policy starts blind, as published.
        num_draws (int): Time steps drawn for each image that has a reward.
            The student is taught by the first; the teacher looks at these
            images once more for each of the others. With several, the
            baseline is the image's own: the mean reward of its other draws.
            Defaults to 1.

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
                 num_timesteps: Count = 1000,
                 num_bins: Optional[Count] = None,
                 policy: dict = dict(type='repfusion_mm.LeNetPolicy'),
                 entropy_weight: Weight = 0.1,
                 baseline: str = 'leave_one_out',
                 look: Union[bool, dict] = False,
                 num_draws: Count = 1) -> None:
        super().__init__()
        if num_bins is None:
            num_bins = num_timesteps
        if num_timesteps % num_bins:
            raise ValueError('`time_sampler.num_bins` must divide '
                             f'`num_timesteps`, got {num_bins} and '
                             f'{num_timesteps}')
        if baseline not in BASELINES:
            raise ValueError(f'`time_sampler.baseline` is {baseline!r}, '
                             f'expected one of {BASELINES}')
        if num_draws > 1 and baseline == 'none':
            raise ValueError(
                f'`time_sampler.num_draws` is {num_draws}, for a baseline of '
                "each image, but `time_sampler.baseline` is 'none'; leave out "
                'one of the two')
        self.num_draws = num_draws
        self.bin_width = num_timesteps // num_bins
        self.max_timestep = num_timesteps - 1
        self.num_ranges = 1
        self.entropy_weight = entropy_weight
        self.baseline = baseline
        self.look_options = look_options(look)
        self.policy = build_part('policy', policy,
                                 num_actions=num_bins)
        if self.look_options is not None:  # log-probabilities that it found
            self.found: Tensor
            self.register_buffer('found', torch.zeros(num_bins))

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
        entropy = policy.entropy()
        if self.look_options is not None:
            entropy = entropy + (policy.probs * self.found).sum(1)
        return TimeSample(bins * self.bin_width + within,
                          policy.log_prob(bins), entropy,
                          policy.logits.detach())

    def learn_from(self, look: Any) -> None:
        """Start from what the time steps were seen to be worth.

        The policy is fitted to them by its exact gradient; see
        :func:`fit_policy`. The standard error of their means is the
        temperature, times ``look.temperature``.

        Args:
            look (Look): What the time steps are worth.
        """
        believed = look.believed
        assert self.look_options is not None  # nothing else has it looked at
        temperature = believed.std_error * self.look_options.temperature
        mean, values = (
            at_centres(one, look.timesteps, len(self.found), self.bin_width)
            for one in (believed.mean[None], believed.values))
        fit_policy(self.policy, look.images, values, temperature)
        self.found.copy_((mean[0] / temperature.clamp(min=1e-6))
                         .log_softmax(0).clamp(min=LEAST_FOUND))

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

    def loss_of_draws(self, sample: TimeSample, log_probs: Tensor,
                      rewards: Tensor, mask: Tensor) -> Dict[str, Tensor]:
        """REINFORCE on several draws an image, each with its own baseline.

        Args:
            sample (TimeSample): The first draw of all images, whose entropy
                counts.
            log_probs (Tensor): Of D draws of the M rewarded images, (D, M).
            rewards (Tensor): What each t was worth, (D, M).
            mask (Tensor): Bool, (M,): which images' rewards count.

        Returns:
            dict[str, Tensor]: ``loss_policy`` and ``loss_entropy``, scalars.
        """
        draws = len(rewards)
        rewards = rewards.detach()
        # minus the mean of the others
        advantages = (rewards - rewards.mean(0)) * draws / (draws - 1)
        count, = sum_of_all(mask.sum())
        loss_policy = -(advantages * log_probs).mean(0)
        return dict(loss_policy=(loss_policy * mask).sum() *
                    get_world_size() / count.clamp(min=1),
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
