"""The image sizes that a denoiser's downsampling can take."""
from typing import Optional, Sequence, Tuple, Union


def denoiser_size(size: Optional[Union[int, Sequence[int]]],
                  config: dict,
                  key: str = 'image_size',
                  latent_stride: int = 1) -> Tuple[int, int]:
    """Check an image size against the downsampling of a denoiser.

    Args:
        size (int or Sequence[int], optional): Height and width; None is the
            size that the denoiser was trained at.
        config (dict): Its diffusers config.
        key (str): The config key of the size, for error messages.
        latent_stride (int): Pixels to a side of what it looks at, of one that
            looks at latents. Defaults to 1.

    Returns:
        tuple[int, int]: Height and width.

    Raises:
        ValueError: If a side is no multiple of the total stride, or nothing
            says what the size is.
    """
    if size is None:
        size = config.get('sample_size')
    if size is None:
        raise ValueError(f'`{key}` is needed: the denoiser\'s config has no '
                         '`sample_size`')
    height, width = (size, size) if isinstance(size, int) else size
    halvings = len(config['block_out_channels']) - 1
    stride = latent_stride * 2**halvings
    for side in (height, width):
        if side < 1 or side % stride:
            below = side // stride * stride
            nearest = f'{below} or {below + stride}' if below > 0 else stride
            raise ValueError(
                f'`{key}` is {size}, but the denoiser halves its input '
                f'{halvings} times'
                + (f', latents of {latent_stride} pixels a side'
                   if latent_stride > 1 else '')
                + f', so each side must be a multiple of {stride}; nearest: '
                f'{nearest}')
    return height, width
