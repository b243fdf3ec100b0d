"""The bytes of a file as an image of 8-bit colours, or what is wrong."""
import io

import cv2
import numpy as np
from mmengine import fileio
from PIL import Image, UnidentifiedImageError

from .bad_image_error import BadImageError

# without those that run another program to be drawn, as EPS does
FORMATS = ('JPEG', 'PNG', 'BMP', 'DIB', 'GIF', 'PPM', 'TIFF', 'WEBP',
           'JPEG2000', 'AVIF')
MAX_PIXELS = 10**8  # 300 MB of 8-bit colours
# by the orientation that a camera has noted
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
ORIENTATION = 0x0112  # in EXIF


def read_file(path: str) -> bytes:
    """The bytes of a file, on this machine or where MMEngine finds them.

    Args:
        path (str): Of the file.

    Returns:
        bytes: At least one.

    Raises:
        BadImageError: If there are none.
    """
    try:
        content = bytes(fileio.get(path))
    except FileNotFoundError as error:
        raise BadImageError('is not there', 'missing') from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise BadImageError(f'cannot be read: {reason}',
                            'unreadable') from error
    if not content:
        raise BadImageError('is empty', 'empty')
    return content


def open_image(content: bytes, max_pixels: int) -> Image.Image:
    """An image whose header is read, and no pixel.

    Args:
        content (bytes): Of its file.
        max_pixels (int): That it may have.

    Returns:
        Image: Of Pillow.

    Raises:
        BadImageError: If it is none, or too large.
    """
    Image.init()
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and limit < max_pixels:  # Pillow's own
        Image.MAX_IMAGE_PIXELS = max_pixels
    try:
        image = Image.open(io.BytesIO(content), formats=[
            name for name in FORMATS if name in Image.OPEN])
    except UnidentifiedImageError as error:
        raise BadImageError(
            f'is no image that can be read: it begins with {content[:12]!r}',
            'no image') from error
    except Image.DecompressionBombError as error:
        raise BadImageError(f'is larger than `max_pixels`, {max_pixels}: '
                            f'{str(error).split(" exceeds")[0]}',
                            'too large') from error
    except Exception as error:
        raise _damaged(error) from error
    width, height = image.size
    if width * height > max_pixels:
        raise BadImageError(
            f'has {width}x{height} pixels, more than `max_pixels`, '
            f'{max_pixels}', 'too large')
    return image


def decode(content: bytes, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """An image as ``LoadImageFromFile`` gives it, whatever the file holds.

    Args:
        content (bytes): Of a file.
        max_pixels (int): That it may have, by its header.

    Returns:
        np.ndarray: BGR, uint8, (H, W, 3), turned as its camera was held. Of
        several frames or pages it is the first. 16 bits are divided by 256;
        what is transparent is white.

    Raises:
        BadImageError: If the file is no image, damaged, too large, or of
            numbers that mean no colours.
    """
    image = open_image(content, max_pixels)
    try:
        image.load()
        colours = _colours(image)
    except (BadImageError, MemoryError):
        raise
    except Exception as error:  # of many types, by format
        raise _damaged(error) from error
    turn = TURNS.get(_orientation(image))
    if turn is not None:
        colours = colours.transpose(turn)
    return cv2.cvtColor(np.asarray(colours), cv2.COLOR_RGB2BGR)


def _colours(image: Image.Image) -> Image.Image:
    """RGB."""
    # of older Pillows, 16 bits in PNG and PPM are of mode I
    if image.mode.startswith('I;16') or (
            image.mode == 'I' and image.format in ('PNG', 'PPM')):
        levels = (np.asarray(image).astype(np.int32) >> 8).astype(np.uint8)
        return Image.fromarray(levels).convert('RGB')
    if image.mode in ('I', 'F'):
        raise BadImageError(
            f'is of 32-bit numbers (mode {image.mode}), and it is not known '
            'which of them is white; write it with 8 or 16 bits',
            'no colours')
    if image.mode in ('RGBA', 'LA', 'PA', 'RGBa', 'La') or \
            'transparency' in image.info:
        paper = Image.new('RGBA', image.size, 'white')
        return Image.alpha_composite(
            paper, image.convert('RGBA')).convert('RGB')
    return image if image.mode == 'RGB' else image.convert('RGB')


def _orientation(image: Image.Image) -> int:
    try:
        return image.getexif().get(ORIENTATION, 1)
    except Exception:  # notes that are damaged turn nothing
        return 1


def _damaged(error: Exception) -> BadImageError:
    text = str(error) or type(error).__name__
    if 'truncated' in text.lower() or isinstance(error, EOFError):
        return BadImageError(f'is cut off: {text}', 'truncated')
    return BadImageError(f'is damaged: {text}', 'damaged')
