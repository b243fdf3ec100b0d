import io

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms
from sklearn.datasets import load_sample_image

from repfusion_mm.datasets.transforms.bad_image_error import BadImageError
from repfusion_mm.datasets.transforms.decoding import decode
from tests.test_datasets.bad_files import (
    BAD,
    GREY16,
    JPEG,
    PICTURE,
    RGB,
    X,
    Y,
    file,
    png,
)

GREY = np.stack([RGB[..., 0]] * 3, -1)


def rgb(content):
    image = decode(content)
    assert image.dtype == np.uint8 and image.flags.c_contiguous
    return image[..., ::-1]


@pytest.mark.parametrize('options', [
    dict(format='JPEG', quality=85),
    dict(format='JPEG', quality=85, subsampling=0, progressive=True),
    dict(format='PNG'), dict(format='BMP')], ids=str)
def test_as_opencv(options):
    """The same pixels as `LoadImageFromFile` gives, bit for bit."""
    photo = Image.fromarray(load_sample_image('flower.jpg')[:250, :333])
    for image in (photo, photo.convert('L')):
        content = file(image, **options)
        assert np.array_equal(decode(content), cv2.imdecode(
            np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR))


def test_sixteen_bits():
    grey = file(Image.fromarray(GREY16))
    assert np.array_equal(rgb(grey), GREY)
    assert np.array_equal(rgb(file(Image.fromarray(GREY16), 'TIFF')), GREY)
    rows = b''.join(b'\0' + row.tobytes()
                    for row in (RGB.astype('>u2') * 257).astype('>u2'))
    assert np.array_equal(rgb(png(64, 48, 16, 2, rows)), RGB)
    netpbm = b'P5 64 48 65535\n' + GREY16.astype('>u2').tobytes()
    assert np.array_equal(rgb(netpbm), GREY)


def test_grey_and_black_and_white():
    grey = Image.fromarray(RGB[..., 0])
    assert np.array_equal(rgb(file(grey)), GREY)
    assert np.array_equal(rgb(file(grey.convert('LA'))), GREY)
    bits = np.where(X > Y, 255, 0).astype(np.uint8)
    assert np.array_equal(rgb(file(Image.fromarray(bits).convert('1'))),
                          np.stack([bits] * 3, -1))


def test_palette():
    few = RGB // 128 * 128 + 60  # of eight colours
    image = Image.fromarray(few).quantize(8)
    assert image.mode == 'P'
    assert np.abs(rgb(file(image)).astype(int) - few).max() <= 4


def test_cmyk():
    """Not inverted, whether or not the file says it is Adobe's."""
    content = file(PICTURE.convert('CMYK'), 'JPEG', quality=98)
    assert b'Adobe' in content
    assert np.abs(rgb(content).astype(int) - RGB).mean() < 3
    tiff = file(PICTURE.convert('CMYK'), 'TIFF')
    assert np.abs(rgb(tiff).astype(int) - RGB).max() <= 1


@pytest.mark.parametrize('mode', ['RGBA', 'LA', 'P'])
def test_transparent_is_white(mode):
    """Mixed with white by its share; what is hidden does not show."""
    alpha = np.linspace(0, 255, 48).round().astype(np.uint8)[:, None].repeat(
        64, 1)
    image = Image.fromarray(GREY).convert('RGBA')
    image.putalpha(Image.fromarray(alpha))
    wanted = GREY * (alpha[..., None] / 255.) + 255. - alpha[..., None]
    if mode == 'P':
        content = file(Image.fromarray(GREY).quantize(4), transparency=0)
        shown = np.asarray(Image.open(io.BytesIO(content)))
        assert (rgb(content)[shown == 0] == 255).all()
        assert (rgb(content)[shown != 0] < 255).all()
        return
    image = image if mode == 'RGBA' else image.convert('LA')
    assert np.abs(rgb(file(image)) - wanted).max() <= 1


def test_colour_that_is_transparent():
    image = Image.fromarray(np.where(X[..., None] < 32, RGB, 7).astype(
        np.uint8))
    shown = rgb(file(image, transparency=(7, 7, 7)))
    assert (shown[:, 32:] == 255).all()
    assert np.array_equal(shown[:, :32], RGB[:, :32])


# as the EXIF standard describes where the first row and column are
ROTATED = {1: RGB, 2: RGB[:, ::-1], 3: RGB[::-1, ::-1], 4: RGB[::-1],
           5: RGB.swapaxes(0, 1), 6: RGB.swapaxes(0, 1)[:, ::-1],
           7: RGB.swapaxes(0, 1)[::-1, ::-1], 8: RGB.swapaxes(0, 1)[::-1]}


@pytest.mark.parametrize('format', ['PNG', 'TIFF', 'WEBP'])
@pytest.mark.parametrize('orientation', range(1, 9))
def test_turned_by_a_camera(orientation, format):
    exif = Image.Exif()
    exif[0x112] = orientation
    content = file(format=format, exif=exif,
                   **(dict(lossless=True) if format == 'WEBP' else {}))
    assert np.array_equal(rgb(content), ROTATED[orientation])


def test_turned_jpeg():
    exif = Image.Exif()
    exif[0x112] = 6
    shown = rgb(file(format='JPEG', quality=98, exif=exif))
    assert shown.shape == (64, 48, 3)
    assert np.abs(shown.astype(int) - ROTATED[6]).mean() < 2


@pytest.mark.filterwarnings('ignore')
def test_damaged_notes_turn_nothing():
    exif = b'Exif\0\0II*\0\x08\0\0\0\xff\xff' + bytes(range(60))
    content = file(format='JPEG', quality=95, exif=exif)
    assert np.array_equal(decode(content), decode(JPEG))


@pytest.mark.parametrize('format', ['GIF', 'PNG', 'WEBP', 'TIFF'])
def test_first_of_several_frames(format):
    red, blue = (Image.new('RGB', (8, 8), name) for name in ('red', 'blue'))
    content = file(red, format, save_all=True, append_images=[blue],
                   **(dict(lossless=True) if format == 'WEBP' else {}))
    assert getattr(Image.open(io.BytesIO(content)), 'n_frames', 1) == 2
    assert (rgb(content) == (255, 0, 0)).all()


@pytest.mark.parametrize('name', BAD)
def test_bad(name):
    content, kind, reason = BAD[name]
    if not content:
        pytest.skip('no bytes to decode')
    with pytest.raises(BadImageError) as error:
        decode(content)
    assert error.value.kind == kind and reason in str(error.value)


def test_larger_if_allowed():
    content = png(12000, 10000, 1, 0, b'\0' * (1501 * 10000))
    assert decode(content, 2 * 10**8).shape == (10000, 12000, 3)


def test_larger_than_pillow_opens():
    wide = png(20000, 10000, 1, 0, b'')
    with pytest.raises(BadImageError) as error:
        decode(wide, 3 * 10**8)
    assert error.value.kind == 'truncated'  # and not too large


def test_lab():
    lab = ImageCms.applyTransform(PICTURE, ImageCms.buildTransform(
        ImageCms.createProfile('sRGB'), ImageCms.createProfile('LAB'),
        'RGB', 'LAB'))
    shown = rgb(file(lab, 'TIFF'))
    assert np.abs(shown.astype(int) - RGB).mean() < 8  # not all are in it


def test_no_program_is_run():
    """EPS would be handed to Ghostscript."""
    with pytest.raises(BadImageError, match='is no image that can be read'):
        decode(file(format='EPS'))
