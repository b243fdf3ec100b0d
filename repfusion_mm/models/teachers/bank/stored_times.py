"""Which time steps a feature bank holds, and for which they stand."""
from typing import List, Sequence, Tuple

import torch
from torch import Tensor


def bin_of_each_t(timesteps: List[int], width: int,
                  num_timesteps: int) -> Tensor:
    """Which stored t stands for each t.

    Args:
        timesteps (list[int]): The stored ones.
        width (int): Of the bin around each: from t - width // 2 on.
        num_timesteps (int): The teacher knows 0 to ``num_timesteps`` - 1.

    Returns:
        Tensor: Long, (num_timesteps,); -1 where none does.

    Raises:
        ValueError: If bins overlap, or leave the range.
    """
    bins = torch.full((num_timesteps, ), -1)
    for index, t in enumerate(timesteps):
        low = t - width // 2
        if width < 1 or low < 0 or low + width > num_timesteps or \
                bins[low:low + width].max() >= 0:
            raise ValueError(
                f'`teacher.timesteps` is {timesteps} and `teacher.bin_width` '
                f'{width}: each t stands for [t - width // 2, t - width // 2 '
                f'+ width), which must lie in [0, {num_timesteps}) and not '
                'overlap')
        bins[low:low + width] = index
    if not timesteps:
        raise ValueError('`teacher.timesteps` is empty: name the t to store')
    return bins


def check_ranges(bin_of: Tensor, ranges: Sequence[Tuple[int, int]],
                 stored: str) -> None:
    """Refuse a time sampler that may draw what is not stored.

    Args:
        bin_of (Tensor): As from :func:`bin_of_each_t`.
        ranges (Sequence[tuple]): It draws from [low, high) of each.
        stored (str): What is, for the error message.

    Raises:
        ValueError: If some t of them is not stored.
    """
    for low, high in ranges:
        lacking = (bin_of[low:high] < 0).nonzero()
        if len(lacking):
            raise ValueError(
                f'`time_sampler` may draw t = {low + int(lacking[0])}, but '
                f'{stored}; let it draw from these alone')
