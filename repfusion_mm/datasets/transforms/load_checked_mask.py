"""Loads masks that strangers have made."""
from typing import Any

from repfusion_mm.registry import TRANSFORMS

from .bad_image_error import BadImageError
from .checked import Checked
from .decoding import MAX_PIXELS, open_image, read_file

ONE_CHANNEL = ('L', 'P', '1')  # of at most 8 bits


@TRANSFORMS.register_module()
class LoadCheckedMask(Checked):
    """mmseg's ``LoadAnnotations`` for masks nobody has looked at before.

    A mask is bad if it is missing, empty or damaged, has another size than
    its image, is a coloured picture, or has 16 bits, of which mmseg would
    keep 8.

    Args:
        bad_images (str): ``'raise'``, or ``'skip'``, which has another image
            drawn, with its own mask. Defaults to ``'raise'``.
        **kwargs: Of ``mmseg.LoadAnnotations``.

    Example:
        >>> pipeline = [
        ...     dict(type='repfusion_mm.LoadCheckedImage', bad_images='skip'),
        ...     dict(type='repfusion_mm.LoadCheckedMask', bad_images='skip'),
        ...     dict(type='mmseg.PackSegInputs')]
    """
    key = 'seg_map_path'

    def __init__(self, bad_images: str = 'raise', **kwargs: Any) -> None:
        super().__init__(bad_images)
        self._mmseg = TRANSFORMS.build(
            dict(kwargs, type='mmseg.LoadAnnotations'))

    def load(self, results: dict) -> dict:
        """Load the mask of an image.

        Args:
            results (dict): With ``seg_map_path`` and the image.

        Returns:
            dict: With ``gt_seg_map``, uint8, (H, W).

        Raises:
            BadImageError: If it cannot be used.
        """
        check_mask(read_file(results['seg_map_path']), results['img_shape'])
        try:
            return self._mmseg(results)
        except OSError as error:
            raise BadImageError(f'is damaged: {error}', 'damaged') from error


def check_mask(content: bytes, shape: tuple) -> None:
    """Look at the header of a mask.

    Args:
        content (bytes): Of its file.
        shape (tuple[int, int]): Height and width of its image.

    Raises:
        BadImageError: If it is the mask of another image, or no mask.
    """
    mask = open_image(content, MAX_PIXELS)
    (width, height), mode = mask.size, mask.mode
    if (height, width) != tuple(shape):
        raise BadImageError(
            f'is a mask of {width}x{height} pixels, but its image has '
            f'{shape[1]}x{shape[0]}', 'mask of another size')
    if mode not in ONE_CHANNEL:
        raise BadImageError(
            f'is of mode {mode}, expected the number of a class in one '
            'channel of 8 bits', 'no mask')
