"""Masks through mmseg's data set."""

import numpy as np
import pytest
from mmengine.registry import init_default_scope
from PIL import Image

from repfusion_mm.datasets.image_check import annotations, check_files
from repfusion_mm.datasets.transforms import skipped
from repfusion_mm.datasets.transforms.bad_image_error import BadImageError
from repfusion_mm.registry import DATASETS
from tests.test_datasets.bad_files import PICTURE, X, cut, file, flipped

pytest.importorskip('mmseg')
CLASSES = (X // 16).astype(np.uint8)  # 0 to 3
MASK = Image.fromarray(CLASSES)
TURNED = Image.Exif()
TURNED[0x112] = 6
BAD = {
    'empty': (b'', 'empty', 'is empty'),
    'text': (b'no mask', 'no image', 'is no image that can be read'),
    'cut': (cut(file(MASK.resize((640, 480)).resize((64, 48)), 'BMP')),
            'damaged', 'is damaged'),
    'damaged': (flipped(file(Image.fromarray(np.random.default_rng(0).integers(
        0, 4, (48, 64), np.uint8)))), 'damaged', 'is damaged'),
    'small': (file(MASK.resize((32, 24))), 'mask of another size',
              'is a mask of 32x24 pixels, but its image has 64x48'),
    'colours': (file(PICTURE), 'no mask', 'is of mode RGB, expected'),
    'sixteen': (file(Image.fromarray(CLASSES.astype(np.uint16) * 256)),
                'no mask', 'is of mode I;16'),
}
PALETTE = MASK.copy()
PALETTE.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 255])


@pytest.fixture(autouse=True)
def scope():
    init_default_scope('mmseg')
    skipped.forget()
    yield
    skipped.forget()


@pytest.fixture
def masks(tmp_path):
    """Builds a data set: a good image 'a', and 'b' with another mask."""

    def build(mask, bad_images='raise', picture=PICTURE, **kwargs):
        for name in ('images', 'masks'):
            (tmp_path / name).mkdir()
        for name, content in dict(a=file(MASK), b=mask).items():
            picture.save(tmp_path / 'images' / f'{name}.jpg', **kwargs)
            if content is not None:
                (tmp_path / 'masks' / f'{name}.png').write_bytes(content)
        return DATASETS.build(dict(
            type='mmseg.BaseSegDataset', data_root=str(tmp_path),
            metainfo=dict(classes='abcd'),
            data_prefix=dict(img_path='images', seg_map_path='masks'),
            pipeline=[dict(type=f'repfusion_mm.LoadChecked{what}',
                           bad_images=bad_images)
                      for what in ('Image', 'Mask')]
            + [dict(type='PackSegInputs')]))

    return build


def mask_of(sample):
    return sample['data_samples'].gt_sem_seg.data[0].numpy()


@pytest.mark.parametrize('content', [
    file(MASK), file(PALETTE), file(MASK, 'TIFF')], ids=['L', 'P', 'TIFF'])
def test_good(masks, content):
    data = masks(content)
    for index in range(2):
        assert np.array_equal(mask_of(data[index]), CLASSES)


@pytest.mark.parametrize('name', [*BAD, 'missing'])
def test_bad(masks, name, tmp_path):
    content, kind, reason = BAD.get(name, (None, 'missing', 'is not there'))
    data = masks(content)
    with pytest.raises(BadImageError, match='LoadCheckedMask') as error:
        data[1]
    assert error.value.kind == kind and reason in str(error.value)
    assert repr(str(tmp_path / 'masks/b.png')) in str(error.value)
    # before a training, it is said in the same words
    bad, = check_files(annotations(data, range(2)), 2)
    assert bad.path.endswith('masks/b.png')
    assert str(error.value).startswith(f'{bad.path!r} {reason}') or \
        name in ('cut', 'damaged')


def test_skipped(masks):
    data = masks(BAD['small'][0], 'skip')
    sample = data[1]
    assert sample['data_samples'].img_path.endswith('a.jpg')
    assert np.array_equal(mask_of(sample), CLASSES)
    one, = skipped._known.values()
    assert one['kind'] == 'mask of another size'


def test_turned_image_and_its_mask(masks):
    """A mask fits the image as it is shown."""
    turned = MASK.transpose(Image.Transpose.ROTATE_270)
    data = masks(file(turned), exif=TURNED)
    sample = data[1]
    assert sample['inputs'].shape[1:] == mask_of(sample).shape == (64, 48)
    with pytest.raises(BadImageError, match='is a mask of 64x48 pixels, but '
                                            'its image has 48x64'):
        data[0]
