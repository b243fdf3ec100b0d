"""Time steps drawn evenly from a range."""
from typing import Dict, List, Sequence, Tuple, Union

import torch
from torch import Tensor, nn

from repfusion_mm.arguments.annotations import Count, Index
from repfusion_mm.registry import MODELS

from .time_sample import TimeSample


@MODELS.register_module()
class UniformTime(nn.Module):
    """Each image's time step is drawn uniformly from [min_t, max_t).

    With a sequence for either end there is a range for each connection, and
    each connection's teacher feature has a t of its own.
    :class:`TimeSamplerHook` can shrink a single range over training.

    Args:
        max_t (int or Sequence[int]): End of the range, itself not drawn.
            Defaults to 1000. The published Tiny-ImageNet runs also have 50.
        min_t (int or Sequence[int]): Start of the range. Defaults to 0.

    Example:
        >>> time_sampler = dict(type='repfusion_mm.UniformTime', max_t=1000)
    """

    def __init__(self,
                 max_t: Union[Count, Sequence[Count]] = 1000,
                 min_t: Union[Index, Sequence[Index]] = 0) -> None:
        super().__init__()
        ends = [end for end in (min_t, max_t) if not isinstance(end, int)]
        self.num_ranges = len(ends[0]) if ends else 1
        if len(ends) == 2 and len(ends[0]) != len(ends[1]):
            raise ValueError('`time_sampler` needs as many min_t as max_t, '
                             f'got min_t={min_t}, max_t={max_t}')
        self.min_t, self.max_t = min_t, max_t
        self._check()

    @property
    def max_timestep(self) -> int:
        """The largest t that may be drawn.

        Raises:
            ValueError: If a range is empty or negative.
        """
        self._check()
        return max(high for _, high in self.ranges) - 1

    @property
    def ranges(self) -> List[Tuple[int, int]]:
        """Where t is drawn from: [low, high), for each range."""
        low, high = ([end] * self.num_ranges if isinstance(end, int) else end
                     for end in (self.min_t, self.max_t))
        return list(zip(low, high))

    def forward(self, images: Tensor) -> TimeSample:
        """Draw time steps for a batch.

        Args:
            images (Tensor): Raw images, (N, 3, H, W).

        Returns:
            TimeSample: Each (N,), or (K, N) for K ranges, without probability
            or entropy to learn from.
        """
        timesteps = torch.stack([
            torch.randint(low, high, (len(images), ), device=images.device)
            for low, high in self.ranges])
        if self.num_ranges == 1:
            timesteps = timesteps[0]
        zeros = torch.zeros_like(timesteps, dtype=images.dtype)
        return TimeSample(timesteps, zeros, zeros)

    def loss(self, sample: TimeSample, reward: Tensor,
             mask: Tensor) -> Dict[str, Tensor]:
        """There is nothing to learn."""
        return {}

    def _check(self) -> None:
        if not self.ranges:
            raise ValueError('`time_sampler` needs a `min_t` and a `max_t`, '
                             'or several for each connection, got none')
        if any(not 0 <= low < high for low, high in self.ranges):
            raise ValueError('`time_sampler` needs 0 <= min_t < max_t, got '
                             f'min_t={self.min_t}, max_t={self.max_t}')
