"""Rows of a feature bank, computed by the teacher."""
from typing import Any, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ...losses.pooled import pooled


def whole_image(image: Tensor, size: Sequence[int], mirrored: bool) -> Tensor:
    """An image as a teacher would resize it.

    Args:
        image (Tensor): Raw, (3, H, W).
        size (Sequence[int]): The teacher's height and width.
        mirrored (bool): Left to right.

    Returns:
        Tensor: (1, 3, *size).
    """
    image = image[None]
    if image.shape[2:] != tuple(size):
        image = F.interpolate(image, tuple(size), mode='bilinear',
                              align_corners=False, antialias=True)
    return image.flip(3) if mirrored else image


def compute_rows(teacher: Any, images: Tensor, which: Tensor,
                 timesteps: Tensor, taps: Sequence[str],
                 device: torch.device) -> np.ndarray:
    """Pooled features, as they are stored.

    Args:
        teacher (nn.Module): With its weights. One that makes latents of
            images does so once for each.
        images (Tensor): Raw and whole, (M, 3, H, W).
        which (Tensor): Long, (N,): the image of each row.
        timesteps (Tensor): Long, (N,).
        taps (Sequence[str]): In the order of their columns.
        device (torch.device): Of the teacher.

    Returns:
        np.ndarray: Float16, (N, sum of the taps' channels).

    Raises:
        FloatingPointError: If a feature cannot be stored.
    """
    # in the teacher's own precision, whoever fills the bank
    with torch.autocast(device.type, enabled=False):
        images, which, timesteps = (
            one.to(device) for one in (images, which, timesteps))
        features = teacher.look(teacher.encode(images)[which], timesteps) \
            if hasattr(teacher, 'look') else \
            teacher(images[which], timesteps)
    rows = torch.cat([pooled(features[tap]) for tap in taps], 1).half().cpu()
    if not rows.isfinite().all():
        raise FloatingPointError(
            'the teacher\'s features are NaN, infinite, or beyond half '
            'precision\'s 65504, and cannot be stored; normalise them by '
            'another tap, or leave out the bank')
    return rows.numpy()
