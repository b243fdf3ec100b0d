"""Where a denoiser comes from, and how it is spoken to."""
from typing import Any, Optional, Tuple

import torch
from torch import Tensor


class Source:
    """A family of denoisers; a new one is a subclass in a module of its own.

    As it stands here it is of those that look at pixels, are told a whole
    number t, and were trained by a noise schedule of DDPM's kind.

    Attributes:
        scheduler (diffusers.DDPMScheduler): The noise schedule.
        time_scale (float): What the denoiser is told for t, by t.
    """
    scheduler: Any
    time_scale = 1.

    def build(self) -> Any:
        """The denoiser with random weights; shapes are read from it."""
        raise NotImplementedError

    def read(self) -> Any:
        """The denoiser with its weights, in float32, on the CPU."""
        raise NotImplementedError

    @property
    def num_timesteps(self) -> int:
        """Number of time steps: t is from 0 to one less."""
        return self.scheduler.config.num_train_timesteps

    def encode(self, images: Tensor) -> Tensor:
        """What the denoiser looks at.

        Args:
            images (Tensor): Resized and in its range, (N, C, H, W).

        Returns:
            Tensor: (N, C, H, W): the images, as they are.
        """
        return images

    def add_noise(self, inputs: Tensor, timesteps: Tensor) -> Tensor:
        """Noise of the level of t, drawn anew.

        Args:
            inputs (Tensor): Of :meth:`encode`.
            timesteps (Tensor): Long, (N,).

        Returns:
            Tensor: Alike.
        """
        return self.scheduler.add_noise(inputs, torch.randn_like(inputs),
                                        timesteps)

    def arguments(self, timesteps: Tensor,
                  condition: Optional[Tensor]) -> Tuple[Any, ...]:
        """What the denoiser is told beside the images.

        Args:
            timesteps (Tensor): Long, (N,).
            condition (Tensor, optional): Rows of its embedding of classes.

        Returns:
            tuple: Further arguments of its ``forward``.
        """
        if self.time_scale != 1:
            timesteps = timesteps * self.time_scale
        return timesteps, condition, False
