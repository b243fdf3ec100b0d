"""A picture of what a diffusion model draws."""
from typing import Any

import numpy as np
import torch


def sample_grid(denoiser: Any, scheduler: Any, num_samples: int,
                steps: int) -> np.ndarray:
    """Draw images from a diffusion model and lay them side by side.

    Args:
        denoiser (diffusers.UNet2DModel): The denoiser.
        scheduler (diffusers.DDPMScheduler): Its noise schedule.
        num_samples (int): Number of images.
        steps (int): DDIM steps.

    Returns:
        np.ndarray: RGB, uint8, (H, W, 3), at least 64 pixels an image.
    """
    from diffusers import DDIMPipeline, DDIMScheduler
    from torchvision.utils import make_grid
    pipeline = DDIMPipeline(
        denoiser, DDIMScheduler.from_config(scheduler.config))
    pipeline.set_progress_bar_config(disable=True)
    images = pipeline(num_samples, num_inference_steps=steps,
                      generator=torch.Generator().manual_seed(0),
                      output_type='np').images
    images = torch.from_numpy(images).permute(0, 3, 1, 2)
    zoom = max(1, 64 // images.size(-1))
    images = images.repeat_interleave(zoom, 2).repeat_interleave(zoom, 3)
    grid = make_grid(images, nrow=round(num_samples**0.5), padding=2)
    return (grid.permute(1, 2, 0) * 255).round().byte().numpy()
