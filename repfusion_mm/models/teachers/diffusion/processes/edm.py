"""EDM's forward process: noise is added, and the sum scaled."""
from typing import Tuple

import torch
from torch import Tensor

from .process import ForwardProcess, of_images


class EDMProcess(ForwardProcess):
    """Variance exploding, sigma instead of a step.

    Time is continuous: t counts the steps of EDM's schedule of sigmas, from
    the smallest to the largest.

    Args:
        sigma_min (float): Of t = 0.
        sigma_max (float): Of the last t.
        sigma_data (float): Standard deviation of the images. Defaults to 0.5.
        rho (float): Curvature of the schedule. Defaults to 7.
        log_scale (float): What the denoiser is told is this times the log of
            sigma: 0.25 in EDM, and 250 in consistency models. Defaults to
            0.25.
        num_timesteps (int): Number of steps. Defaults to 1000.

    Source: Karras et al., "Elucidating the Design Space of Diffusion-Based
    Generative Models", NeurIPS 2022, equation 5 and table 1.
    """

    def __init__(self,
                 sigma_min: float,
                 sigma_max: float,
                 sigma_data: float = 0.5,
                 rho: float = 7.,
                 log_scale: float = 0.25,
                 num_timesteps: int = 1000) -> None:
        self.sigma_data, self.log_scale = sigma_data, log_scale
        self.num_timesteps = num_timesteps
        ramp = torch.linspace(0, 1, num_timesteps, dtype=torch.float64)
        low, high = sigma_min**(1 / rho), sigma_max**(1 / rho)
        self.sigmas = (low + ramp * (high - low))**rho

    def coefficients(self, timesteps: Tensor) -> Tuple[Tensor, Tensor]:
        """As of :class:`ForwardProcess`."""
        sigmas = self._sigmas(timesteps)
        return torch.ones_like(sigmas), sigmas

    def told(self, timesteps: Tensor) -> Tensor:
        """As of :class:`ForwardProcess`."""
        return self.log_scale * self._sigmas(timesteps).log()

    def add_noise(self, clean: Tensor, noise: Tensor,
                  timesteps: Tensor) -> Tensor:
        """As of :class:`ForwardProcess`."""
        return clean + of_images(self._sigmas(timesteps), clean) * noise

    def scaled(self, inputs: Tensor, timesteps: Tensor) -> Tensor:
        """As of :class:`ForwardProcess`."""
        scale = (self._sigmas(timesteps)**2 + self.sigma_data**2).sqrt()
        return inputs / of_images(scale, inputs)

    def _sigmas(self, timesteps: Tensor) -> Tensor:
        return self.sigmas.to(timesteps.device)[timesteps]
