"""Where a denoiser comes from: one family of models a module."""
from . import (
    consistency,
    pixel_unet,
    sdxl,
    stable_diffusion,
    unconditional_latents,
)
from .families import FAMILIES, find_family

__all__ = ['FAMILIES', 'consistency', 'find_family', 'pixel_unet', 'sdxl',
           'stable_diffusion', 'unconditional_latents']
