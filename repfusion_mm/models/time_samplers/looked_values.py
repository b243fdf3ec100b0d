"""What a look at some images says about the time steps of all images."""
from typing import NamedTuple, Optional, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

SIDE = 16  # images are compared at this size
# what a standard deviation of the rank over the time steps counts, in standard
# errors of what the labels say
RANK_ERRORS = 2.
LEAST_SPREAD = 0.02  # of the rank, in its mean: less is taken for noise


class LookedValues(NamedTuple):
    """Of N images at T time steps.

    Attributes:
        mean (Tensor): Over the images and neighbouring time steps, with what
            the rank adds, (T,).
        std_error (Tensor): Of the differences between the means, scalar.
        values (Tensor): What each t is believed to be worth for each image,
            up to a constant of the image, (N, T).
        likeness (Tensor): How much of what is an image's own is shared by the
            image most like it, 0 to 1, scalar.
    """
    mean: Tensor
    std_error: Tensor
    values: Tensor
    likeness: Tensor


def looked_values(rewards: Tensor, images: Tensor,
                  rank: Optional[Tensor] = None) -> LookedValues:
    """Shrink what was looked at to what can be believed.

    A reward is the sum of what the image is worth at any t (of no interest),
    what t is worth for any image, and what is left: the image's own
    preference, with much noise. What an image shows of the preference of the
    image most like it, a regression through the origin, is what can be
    learnt of it for others; to that share it is kept.

    The features' effective rank over t needs no labels and has little noise,
    and its peak is near that of a probe at the taps that are worth distilling,
    as far as that was looked at (docs/study.md). It counts as much as two
    standard errors of the rewards: where there are few labels it decides among
    the time steps that these do not tell apart, and many outvote it.

    Args:
        rewards (Tensor): Of N images in V views at T time steps, (N, V, T).
        images (Tensor): Raw images, (N, V, 3, H, W).
        rank (Tensor, optional): Effective rank at each time step, (T,).

    Returns:
        LookedValues: For a policy to be fitted to.
    """
    rewards = rewards.double().mean(1)
    rewards = rewards - rewards.mean(1, keepdim=True)
    mean = rewards.mean(0)
    own = rewards - mean
    count = len(rewards)
    error = (own.square().sum(0) / max(count - 1, 1)).mean().sqrt() / \
        count**0.5
    likeness = torch.zeros_like(error)
    if count > 2:
        small = F.adaptive_avg_pool2d(images.float().mean(1), SIDE).flatten(1)
        distance = torch.cdist(small, small)
        distance.fill_diagonal_(float('inf'))
        nearest = distance.argmin(1).to(own.device)
        likeness = ((own * own[nearest]).sum() / own.square().sum().clamp(
            min=1e-30)).clamp(0, 1)
    told = torch.zeros_like(mean)
    if rank is not None:
        # also where the rewards are all alike, and nothing else decides
        told = RANK_ERRORS * error.clamp(min=1e-9) * standardised(
            rank.to(mean))
    return LookedValues(smoothed(mean[None])[0] + told, error,
                        smoothed(mean + likeness * own) + told, likeness)


def standardised(values: Tensor) -> Tensor:
    """Mean 0 and standard deviation 1; less where they hardly differ.

    Args:
        values (Tensor): At least 0, float, (T,).

    Returns:
        Tensor: Alike.
    """
    own = values - values.mean()
    spread = own.square().mean().sqrt()
    return own / torch.maximum(spread, LEAST_SPREAD * values.mean()).clamp(
        min=1e-30)


def smoothed(values: Tensor) -> Tensor:
    """Each value averaged with its neighbours, weights 1, 2, 1.

    Args:
        values (Tensor): (N, T).

    Returns:
        Tensor: (N, T).
    """
    padded = F.pad(values[:, None], (1, 1), mode='replicate')[:, 0]
    return (padded[:, :-2] + 2 * padded[:, 1:-1] + padded[:, 2:]) / 4


def at_centres(values: Tensor, timesteps: Sequence[int], num_bins: int,
               bin_width: int) -> Tensor:
    """Values at some time steps, read off at the centres of bins.

    Between two time steps they are interpolated linearly, beyond the last
    one they stay the same.

    Args:
        values (Tensor): (N, T).
        timesteps (Sequence[int]): Ascending, T of them.
        num_bins (int): Number of bins.
        bin_width (int): Time steps in each.

    Returns:
        Tensor: (N, num_bins).
    """
    known = torch.tensor(timesteps, dtype=values.dtype, device=values.device)
    centres = torch.arange(num_bins, dtype=values.dtype,
                           device=values.device) * bin_width + bin_width // 2
    centres = centres.clamp(known[0], known[-1])
    right = torch.searchsorted(known, centres).clamp(
        min=min(1, len(known) - 1))
    left = (right - 1).clamp(min=0)
    share = (centres - known[left]) / (known[right] - known[left]).clamp(min=1)
    return values[:, left] * (1 - share) + values[:, right] * share
