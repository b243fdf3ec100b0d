"""Flow matching's forward process: a straight line from image to noise."""
from typing import Tuple

from torch import Tensor

from .process import ForwardProcess, of_images


class FlowProcess(ForwardProcess):
    """Rectified flow, continuous time.

    t is the denoiser's own time, of which there are 1,000: x(t) is
    (1 - t / 1000) x + t / 1000 noise, and t = 0 is the image itself. The
    ``shift`` of a scheduler changes which of these t a sampler visits, and
    not what they mean: its i-th of n steps is at
    t = 1000 shift i / (n + (shift - 1) i).

    Args:
        time_scale (float): What the denoiser is told for t, by t: 1 in SD3,
            and 1 / 1000 in Flux. Defaults to 1.
        num_timesteps (int): Number of steps. Defaults to 1000.

    Source: Esser et al., "Scaling Rectified Flow Transformers for
    High-Resolution Image Synthesis", ICML 2024, equations 13 and 23.
    """

    def __init__(self, time_scale: float = 1.,
                 num_timesteps: int = 1000) -> None:
        self.time_scale = time_scale
        self.num_timesteps = num_timesteps

    def coefficients(self, timesteps: Tensor) -> Tuple[Tensor, Tensor]:
        """As of :class:`ForwardProcess`."""
        sigmas = timesteps.double() / self.num_timesteps
        return 1 - sigmas, sigmas

    def told(self, timesteps: Tensor) -> Tensor:
        """As of :class:`ForwardProcess`."""
        return timesteps.double() * self.time_scale  # cast by the denoiser

    def add_noise(self, clean: Tensor, noise: Tensor,
                  timesteps: Tensor) -> Tensor:
        """As of :class:`ForwardProcess`."""
        signal, sigma = (of_images(one, clean)
                         for one in self.coefficients(timesteps))
        return signal * clean + sigma * noise
