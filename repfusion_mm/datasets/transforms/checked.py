"""What happens to an image that cannot be used: it is skipped, or raised."""
from typing import Optional

from mmcv.transforms import BaseTransform

from repfusion_mm.models.utils.nearest import nearest

from . import skipped
from .bad_image_error import BadImageError

CHOICES = ('raise', 'skip')
MOST_IN_A_ROW = 1000  # all that a data set of MMEngine draws for one


class Checked(BaseTransform):
    """A transform that loads something which may be bad.

    Args:
        bad_images (str): ``'raise'`` or ``'skip'``.
    """
    key = 'img_path'  # of what is loaded

    def __init__(self, bad_images: str) -> None:
        if bad_images not in CHOICES:
            raise ValueError(
                f'`bad_images` is {bad_images!r}, expected one of {CHOICES}; '
                f'nearest: {nearest(str(bad_images), CHOICES)}')
        self.bad_images = bad_images
        self._in_a_row = 0

    def load(self, results: dict) -> dict:
        """Load it.

        Args:
            results (dict): An annotation, or what was made of it.

        Returns:
            dict: With what was loaded.

        Raises:
            BadImageError: If it cannot be used.
        """
        raise NotImplementedError

    def transform(self, results: dict) -> Optional[dict]:
        """Load it, or say that it cannot be used.

        Args:
            results (dict): An annotation, or what was made of it.

        Returns:
            dict, optional: With what was loaded. None has the data set draw
            another image.

        Raises:
            BadImageError: If it cannot be used, and none is skipped, or very
                many in a row are.
        """
        try:
            results = self.load(results)
        except BadImageError as error:
            self._handle(results[self.key], error)
            return None
        self._in_a_row = 0
        return results

    def _handle(self, path: str, error: BadImageError) -> None:
        name = type(self).__name__
        if self.bad_images == 'raise':
            raise BadImageError(
                f"{path!r} {error}. `bad_images` of {name} is 'raise': with "
                "'skip' another image is taken in its place, which is listed "
                'at the end of the training', error.kind) from error
        skipped.add(path, error.kind, str(error))
        self._in_a_row += 1
        if self._in_a_row == MOST_IN_A_ROW:
            raise BadImageError(
                f'{MOST_IN_A_ROW} images in a row cannot be used; the last '
                f"one, {path!r}, {error}. `bad_images` of {name} is 'skip', "
                'but a training of what is left would be none',
                error.kind) from error

    def __repr__(self) -> str:
        return f'{type(self).__name__}(bad_images={self.bad_images!r})'
