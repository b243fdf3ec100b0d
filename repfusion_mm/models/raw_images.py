"""The one image format between the parts: RGB, 0 to 255."""
from torch import Tensor, nn

CHANNEL_ORDERS = ('rgb', 'bgr')


def raw_images(inputs: Tensor,
               data_preprocessor: nn.Module,
               channel_order: str = 'rgb') -> Tensor:
    """Recover the raw images from a preprocessed batch.

    Inverts the normalisation by the preprocessor's own ``mean`` and ``std``
    and the channel order, so that the teacher sees what the student sees:
    same crop, same mixup. Padding comes out as the padding value does under
    that inverse, within 0 to 255 (the mean colour for a padding of zero).

    Args:
        inputs (Tensor): Preprocessed images, (N, C, H, W), C of 1 or 3.
        data_preprocessor (nn.Module): What preprocessed them. Its buffers
            ``mean`` and ``std`` are used where it has them.
        channel_order (str): Order of the channels in ``inputs``, ``'rgb'`` or
            ``'bgr'``. It is explicit because a preprocessor cannot tell: it
            knows whether it swapped channels, not what it was given.

    Returns:
        Tensor: Float, RGB, 0 to 255, (N, 3, H, W).
    """
    images = inputs.float()
    mean = getattr(data_preprocessor, 'mean', None)
    if mean is not None:
        images = images * data_preprocessor.std + mean
    images = images.clamp(0, 255)
    if images.size(1) == 1:
        return images.expand(-1, 3, -1, -1)
    return images.flip(1) if channel_order == 'bgr' else images
