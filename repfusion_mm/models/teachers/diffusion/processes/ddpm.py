"""DDPM's forward process, whatever is predicted: noise, image or velocity."""
from typing import Any, Tuple

from torch import Tensor

from .process import ForwardProcess


class DDPMProcess(ForwardProcess):
    """Variance preserving, a number of discrete steps.

    Args:
        scheduler (diffusers.DDPMScheduler): The noise schedule.
        time_scale (float): What the denoiser is told for t, by t. Defaults to
            1: t itself.

    Source: Ho et al., "Denoising Diffusion Probabilistic Models", NeurIPS
    2020, equation 4.
    """

    def __init__(self, scheduler: Any, time_scale: float = 1.) -> None:
        self.scheduler = scheduler
        self.time_scale = time_scale
        self.num_timesteps = scheduler.config.num_train_timesteps

    def coefficients(self, timesteps: Tensor) -> Tuple[Tensor, Tensor]:
        """As of :class:`ForwardProcess`."""
        kept = self.scheduler.alphas_cumprod.double().cpu()[timesteps.cpu()]
        return kept.sqrt(), (1 - kept).sqrt()

    def told(self, timesteps: Tensor) -> Tensor:
        """As of :class:`ForwardProcess`."""
        return timesteps if self.time_scale == 1 else \
            timesteps * self.time_scale

    def add_noise(self, clean: Tensor, noise: Tensor,
                  timesteps: Tensor) -> Tensor:
        """As of :class:`ForwardProcess`."""
        return self.scheduler.add_noise(clean, noise, timesteps)
