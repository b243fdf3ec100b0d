"""One time step for every image."""
from typing import Dict, List, Tuple

import torch
from torch import Tensor, nn

from repfusion_mm.registry import MODELS

from .time_sample import TimeSample


@MODELS.register_module()
class FixedTime(nn.Module):
    """Always the same time step.

    Args:
        t (int): The time step. Defaults to 0, as published for CelebA-HQ.

    Example:
        >>> time_sampler = dict(type='repfusion_mm.FixedTime', t=100)
    """

    def __init__(self, t: int = 0) -> None:
        super().__init__()
        if not isinstance(t, int) or t < 0:
            raise ValueError('`time_sampler.t` must be a whole number of at '
                             f'least 0, got {t!r}')
        self.t = t
        self.num_ranges = 1

    @property
    def max_timestep(self) -> int:
        """The largest t that may be drawn."""
        return self.t

    @property
    def ranges(self) -> List[Tuple[int, int]]:
        """Where t is drawn from: [low, high), for each range."""
        return [(self.t, self.t + 1)]

    def forward(self, images: Tensor) -> TimeSample:
        """Time steps for a batch.

        Args:
            images (Tensor): Raw images, (N, 3, H, W).

        Returns:
            TimeSample: Without probability or entropy to learn from.
        """
        zeros = images.new_zeros(len(images))
        return TimeSample(torch.full_like(zeros, self.t, dtype=torch.long),
                          zeros, zeros)

    def loss(self, sample: TimeSample, reward: Tensor,
             mask: Tensor) -> Dict[str, Tensor]:
        """There is nothing to learn."""
        return {}
