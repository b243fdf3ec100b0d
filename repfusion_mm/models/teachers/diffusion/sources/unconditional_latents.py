"""Latent diffusion without text: CompVis' unconditional models."""
from .families import family
from .folder import LatentSource


@family('LDMPipeline', 'LatentDiffusionUncondPipeline',
        'UNet2DModel+VQModel', 'UNet2DModel+AutoencoderKL')
class UnconditionalLatents(LatentSource):
    """A U-Net of the latents of a VQ-VAE, before they are quantised.

    Source: Rombach et al., "High-Resolution Image Synthesis with Latent
    Diffusion Models", CVPR 2022.
    """
