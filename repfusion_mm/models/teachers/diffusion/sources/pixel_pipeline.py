"""Whether the denoiser of a pipeline has seen images, or something else."""
from .files import Files, has, read_json

# what turns images into latents, where a pipeline has no index of its parts
AUTOENCODERS = ('vae', 'vqvae', 'movq', 'vqgan')
# what a pipeline of images consists of, and what does nothing to them
PARTS = ('unet', 'scheduler', 'safety_checker', 'feature_extractor')


def pipeline_index(files: Files) -> dict:
    """What a pipeline says of itself.

    Args:
        files (Files): Of the pipeline.

    Returns:
        dict: Its ``model_index.json``; empty for a bare model.
    """
    if not has(files, 'model_index.json'):
        return {}
    return read_json(files, 'model_index.json')


def check_pixels(files: Files) -> None:
    """Refuse a denoiser of latents, or of anything else but images.

    Its own config does not tell: a latent may have three channels too. But
    what makes the latents lies beside it.

    Args:
        files (Files): Of the pipeline.

    Raises:
        ValueError: If the pipeline has other parts than a denoiser of images
            needs.
    """
    index = pipeline_index(files)
    parts = {name: part[1] for name, part in index.items()
             if isinstance(part, (list, tuple)) and part[1]}
    parts.update((name, '?') for name in AUTOENCODERS
                 if name not in parts and has(files, f'{name}/config.json'))
    others = {name: cls for name, cls in parts.items()
              if name not in PARTS and cls != 'UNet2DModel'}
    if not others:
        return
    who = f'`teacher.pretrained` is {files.where!r}, ' \
        f'a {index.get("_class_name", "pipeline")}'
    remedy = 'take a denoiser of images, such as \'google/ddpm-celebahq-256\''
    latent = [f'`{name}`' + (f' ({cls})' if cls != '?' else '')
              for name, cls in others.items()
              if name in AUTOENCODERS or 'Autoencoder' in cls or 'VQ' in cls]
    if latent:
        raise ValueError(
            f'{who}: its denoiser works on the latents that '
            f'{" and ".join(latent)} makes of an image, and has never seen '
            f'pixels; {remedy}')
    raise ValueError(
        f'{who} with the parts {others}, which a pipeline of images does not '
        f'need; {remedy}, or, if it has seen images, a folder with nothing '
        'but its `unet` and `scheduler`')
