"""One time step for every image."""
from typing import Any, Dict, List, Optional, Tuple, Union

import torch
from torch import Tensor, nn

from repfusion_mm.registry import MODELS

from .look_options import LookOptions, look_options
from .time_sample import TimeSample


@MODELS.register_module()
class FixedTime(nn.Module):
    """Always the same time step.

    Args:
        t (int or str): The time step. ``'auto'``: the one that is worth the
            most when :class:`TimeSamplerHook` looks at all of them before the
            training; it is kept in the checkpoint. Defaults to 0, as
            published for CelebA-HQ.
        look (dict, optional): How ``'auto'`` looks; see
            :class:`LookOptions`. Defaults to None: as that says.

    Raises:
        ValueError: If ``t`` is no time step, or ``look`` has no use.

    Example:
        >>> time_sampler = dict(type='repfusion_mm.FixedTime', t='auto')
    """
    num_ranges = 1

    def __init__(self, t: Union[int, str] = 0,
                 look: Optional[dict] = None) -> None:
        super().__init__()
        automatic = t == 'auto'
        if not automatic and (not isinstance(t, int) or t < 0):
            raise ValueError('`time_sampler.t` must be a whole number of at '
                             f"least 0, or 'auto', got {t!r}")
        if look is not None and not automatic:
            raise ValueError(f'`time_sampler.look` is {look}, but '
                             f'`time_sampler.t` is {t} and not \'auto\'')
        if 'temperature' in (look or {}):
            raise ValueError('`time_sampler.look.temperature` is of a policy: '
                             '`FixedTime` takes the best time step alone')
        self.t: Optional[int] = None if isinstance(t, str) else t
        self.look_options: Optional[LookOptions] = \
            look_options(look or True) if automatic else None
        if automatic:
            self.chosen: Tensor
            self.register_buffer('chosen', torch.tensor(-1))

    @property
    def max_timestep(self) -> int:
        """The largest t that may be drawn; 0 if it is not chosen yet."""
        return self.t or 0

    def learn_from(self, look: Any) -> None:
        """Take the time step that is worth the most.

        Args:
            look (Look): What the time steps are worth.
        """
        self.chosen.fill_(look.best_t)
        self.t = look.best_t

    @property
    def ranges(self) -> List[Tuple[int, int]]:
        """Where t is drawn from: [low, high); nowhere if not chosen yet."""
        return [] if self.t is None else [(self.t, self.t + 1)]

    def forward(self, images: Tensor) -> TimeSample:
        """Time steps for a batch.

        Args:
            images (Tensor): Raw images, (N, 3, H, W).

        Returns:
            TimeSample: Without probability or entropy to learn from.

        Raises:
            RuntimeError: If it is not chosen yet.
        """
        if self.t is None:
            raise RuntimeError(
                "`time_sampler.t` is 'auto' and not chosen yet: put "
                "dict(type='repfusion_mm.TimeSamplerHook') into "
                '`custom_hooks`, which looks for it before the training')
        zeros = images.new_zeros(len(images))
        return TimeSample(torch.full_like(zeros, self.t, dtype=torch.long),
                          zeros, zeros)

    def loss(self, sample: TimeSample, reward: Tensor,
             mask: Tensor) -> Dict[str, Tensor]:
        """There is nothing to learn."""
        return {}

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        if self.look_options is not None and int(self.chosen) >= 0:
            self.t = int(self.chosen)
