"""Where a denoiser comes from: one family of models a module."""
from . import (
    consistency,
    dit,
    flux,
    pixart,
    pixel_unet,
    sana,
    sd3,
    sdxl,
    stable_diffusion,
    unconditional_latents,
)
from .families import FAMILIES, find_family

__all__ = ['FAMILIES', 'consistency', 'dit', 'find_family', 'flux', 'pixart',
           'pixel_unet', 'sana', 'sd3', 'sdxl', 'stable_diffusion',
           'unconditional_latents']
