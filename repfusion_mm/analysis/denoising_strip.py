"""How a diffusion model comes from noise to an image."""
from typing import Any, List, NamedTuple

import numpy as np
import torch
from torch import Tensor


class StripFrame(NamedTuple):
    """One moment of the denoising of N images.

    Attributes:
        t (int): The time step.
        noisy (np.ndarray): x(t), RGB, uint8, (N, H, W, 3).
        predicted (np.ndarray): What the denoiser takes the image to be,
            alike.
    """
    t: int
    noisy: np.ndarray
    predicted: np.ndarray


@torch.no_grad()
def denoising_strip(denoiser: Any, scheduler: Any, num_samples: int = 4,
                    steps: int = 50, frames: int = 8,
                    seed: int = 0) -> List[StripFrame]:
    """Sample by DDIM, and keep some moments of it.

    Args:
        denoiser (diffusers.UNet2DModel): Unconditional.
        scheduler (diffusers.DDPMScheduler): Its noise schedule.
        num_samples (int): Images. Defaults to 4.
        steps (int): DDIM steps, at most the scheduler's. Defaults to 50.
        frames (int): Moments, evenly spread over the steps, the first and
            the last among them. Defaults to 8.
        seed (int): Of the noise. Defaults to 0.

    Returns:
        list[StripFrame]: From noise to image.

    Source: Song et al., "Denoising Diffusion Implicit Models", ICLR 2021.
    """
    from diffusers import DDIMScheduler
    ddim = DDIMScheduler.from_config(scheduler.config)
    ddim.set_timesteps(steps)
    config = denoiser.config
    size = config.sample_size
    noise = torch.randn(
        num_samples, config.in_channels,
        *((size, size) if isinstance(size, int) else size),
        generator=torch.Generator().manual_seed(seed))
    x = noise.to(denoiser.device)
    kept = set(np.linspace(0, steps - 1, frames).round().astype(int).tolist())
    strip = []
    for number, t in enumerate(ddim.timesteps):
        step = ddim.step(denoiser(x, t).sample, t, x)
        if number in kept:
            strip.append(StripFrame(int(t), as_pixels(x), as_pixels(
                step.pred_original_sample)))
        x = step.prev_sample
    return strip


def as_pixels(images: Tensor) -> np.ndarray:
    """What a denoiser takes or gives, as pictures.

    Args:
        images (Tensor): Black is -1 and white 1, (N, 1 or 3, H, W).

    Returns:
        np.ndarray: RGB, uint8, (N, H, W, 3).
    """
    images = ((images.cpu() + 1) * 127.5).round().clamp(0, 255)
    return images.byte().expand(-1, 3, -1, -1).permute(0, 2, 3, 1).numpy()
