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
    halvings = len(config['block_out_channels']) - 1
    return checked_sides(
        size, latent_stride * 2**halvings, key,
        f'the denoiser halves its input {halvings} times'
        + (f', latents of {latent_stride} pixels a side'
           if latent_stride > 1 else ''))


def checked_sides(size: Union[int, Sequence[int]], multiple: int, key: str,
                  why: str) -> Tuple[int, int]:
    """Check that the sides of an image are multiples of a number of pixels.

    Args:
        size (int or Sequence[int]): Height and width.
        multiple (int): Of what.
        key (str): The config key of the size, for error messages.
        why (str): The reason, for them.

    Returns:
        tuple[int, int]: Height and width.

    Raises:
        ValueError: If a side is no such multiple.
    """
    height, width = (size, size) if isinstance(size, int) else size
    for side in (height, width):
        if side < 1 or side % multiple:
            below = side // multiple * multiple
            nearest = f'{below} or {below + multiple}' if below > 0 else \
                multiple
            raise ValueError(
                f'`{key}` is {size}, but {why}, so each side must be a '
                f'multiple of {multiple}; nearest: {nearest}')
    return height, width
