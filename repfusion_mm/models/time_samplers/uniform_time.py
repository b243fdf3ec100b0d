"""Time steps drawn evenly from a range."""
from typing import Dict

import torch
from torch import Tensor, nn

from repfusion_mm.registry import MODELS

from .time_sample import TimeSample


@MODELS.register_module()
class UniformTime(nn.Module):
    """Each image's time step is drawn uniformly from [min_t, max_t).

    Args:
        max_t (int): End of the range, itself not drawn. Defaults to 1000.
            The published Tiny-ImageNet runs also have 50.
        min_t (int): Start of the range. Defaults to 0.

    Example:
        >>> time_sampler = dict(type='repfusion_mm.UniformTime', max_t=1000)
    """

    def __init__(self, max_t: int = 1000, min_t: int = 0) -> None:
        super().__init__()
        if not 0 <= min_t < max_t:
            raise ValueError('`time_sampler` needs 0 <= min_t < max_t, got '
                             f'min_t={min_t}, max_t={max_t}')
        self.min_t, self.max_t = min_t, max_t
        self.max_timestep = max_t - 1

    def forward(self, images: Tensor) -> TimeSample:
        """Draw time steps for a batch.

        Args:
            images (Tensor): Raw images, (N, 3, H, W).

        Returns:
            TimeSample: Without probability or entropy to learn from.
        """
        zeros = images.new_zeros(len(images))
        return TimeSample(
            torch.randint(self.min_t, self.max_t, (len(images), ),
                          device=images.device), zeros, zeros)

    def loss(self, sample: TimeSample, reward: Tensor,
             mask: Tensor) -> Dict[str, Tensor]:
        """There is nothing to learn."""
        return {}
