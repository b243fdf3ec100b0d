"""The image sizes that a denoiser's downsampling can take."""
from typing import Optional, Sequence, Tuple, Union


def denoiser_size(size: Optional[Union[int, Sequence[int]]],
                  config: dict,
                  key: str = 'image_size') -> Tuple[int, int]:
    """Check an image size against the downsampling of a denoiser.

    Args:
        size (int or Sequence[int], optional): Height and width; None is the
            size that the denoiser was trained at.
        config (dict): Its diffusers config.
        key (str): The config key of the size, for error messages.

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
    stride = 2**(len(config['block_out_channels']) - 1)
    for side in (height, width):
        if side < 1 or side % stride:
            below = side // stride * stride
            nearest = f'{below} or {below + stride}' if below > 0 else stride
            raise ValueError(
                f'`{key}` is {size}, but the denoiser halves its input '
                f'{len(config["block_out_channels"]) - 1} times, so each side '
                f'must be a multiple of {stride}; nearest: {nearest}')
    return height, width
