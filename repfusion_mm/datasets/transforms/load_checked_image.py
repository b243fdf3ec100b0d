"""Loads images that strangers have made."""
from repfusion_mm.arguments.annotations import Count
from repfusion_mm.registry import TRANSFORMS

from .checked import Checked
from .decoding import MAX_PIXELS, decode, read_file


@TRANSFORMS.register_module()
class LoadCheckedImage(Checked):
    """``LoadImageFromFile`` for images that nobody has looked at before.

    An ordinary JPEG or PNG gives the same pixels, bit for bit. Beyond that

    - files that are missing, empty, cut off, damaged, or no images are noticed
      before they are used, and so is an image that would fill the memory,
      before it is decoded;
    - all images come out with three channels of 8 bits, as a viewer shows
      them: 16 bits, grey, palettes, CMYK, transparency (on white), turned by
      their camera, animated (the first frame).

    With ``bad_images='skip'`` another image of the data set, with its own
    label, is taken in the place of a bad one: with ``ExactResumeHook`` always
    the same one for this place in the order. ``SkippedImagesHook`` lists and
    counts what was skipped. For a validation leave it at ``'raise'``: a score
    should be of all images.

    Args:
        bad_images (str): ``'raise'`` or ``'skip'``. Defaults to ``'raise'``.
        max_pixels (int): An image of more is bad. Defaults to 100 million,
            which take 300 MB.

    Example:
        >>> pipeline = [
        ...     dict(type='repfusion_mm.LoadCheckedImage', bad_images='skip'),
        ...     dict(type='mmpretrain.RandomFlip', prob=0.5),
        ...     dict(type='mmpretrain.PackInputs')]
    """

    def __init__(self, bad_images: str = 'raise',
                 max_pixels: Count = MAX_PIXELS) -> None:
        super().__init__(bad_images)
        self.max_pixels = max_pixels

    def load(self, results: dict) -> dict:
        """Load an image.

        Args:
            results (dict): With ``img_path``.

        Returns:
            dict: With ``img``, BGR, uint8, (H, W, 3), ``img_shape`` and
            ``ori_shape``.

        Raises:
            BadImageError: If it cannot be used.
        """
        image = decode(read_file(results['img_path']), self.max_pixels)
        results['img'] = image
        results['img_shape'] = results['ori_shape'] = image.shape[:2]
        return results
