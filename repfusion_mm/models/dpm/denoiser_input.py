"""Raw images as a denoiser takes them."""
from typing import Sequence, Tuple

import torch.nn.functional as F
from torch import Tensor

# ITU-R BT.601, as in OpenCV and PIL
LUMA = (0.299, 0.587, 0.114)


def denoiser_input(images: Tensor,
                   in_channels: int,
                   size: Tuple[int, int],
                   input_range: Sequence[float] = (-1., 1.)) -> Tensor:
    """Resize raw images and map them to the denoiser's range.

    Args:
        images (Tensor): Raw images, RGB, 0 to 255, (N, 3, H, W).
        in_channels (int): 3, or 1 for a denoiser of grey images.
        size (tuple[int, int]): Height and width that the denoiser takes.
        input_range (Sequence[float]): Values of black and of 255. ``(-1, 1)``
            is diffusers' x / 127.5 - 1, ``(-1, 127 / 128)`` the x / 128 - 1
            of the published CIFAR-10 runs.

    Returns:
        Tensor: (N, in_channels, *size).
    """
    if in_channels == 1:
        red, green, blue = (weight * images[:, i:i + 1]
                            for i, weight in enumerate(LUMA))
        images = red + green + blue
    if images.shape[-2:] != tuple(size):
        images = F.interpolate(
            images, size, mode='bilinear', align_corners=False, antialias=True)
    low, high = input_range
    return images * ((high - low) / 255) + low
