import pytest
import torch

from repfusion_mm.models.raw_images import raw_images
from repfusion_mm.registry import MODELS

MEAN, STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]


@pytest.fixture
def pixels():
    """Images as a data set gives them, (3, 3, 8, 8)."""
    return torch.randint(0, 256, (3, 3, 8, 8), dtype=torch.uint8)


def preprocess(pixels, **cfg):
    preprocessor = MODELS.build(cfg)
    batch = preprocessor(dict(inputs=list(pixels)), training=False)
    return batch['inputs'], preprocessor


@pytest.mark.parametrize('kind, flag', [
    ('mmpretrain.ClsDataPreprocessor', 'to_rgb'),
    ('mmengine.ImgDataPreprocessor', 'bgr_to_rgb'),
    ('mmengine.ImgDataPreprocessor', 'rgb_to_bgr'),
    ('mmseg.SegDataPreProcessor', 'bgr_to_rgb'),
    ('mmseg.SegDataPreProcessor', 'rgb_to_bgr'),
])
@pytest.mark.parametrize('swap', [False, True])
@pytest.mark.parametrize('given', ['rgb', 'bgr'])
def test_inverse(pixels, kind, flag, swap, given):
    if 'mmseg' in kind:
        pytest.importorskip('mmseg')
    inputs, preprocessor = preprocess(
        pixels, type=kind, mean=MEAN, std=STD, **{flag: swap})
    order = {'rgb': 'bgr', 'bgr': 'rgb'}[given] if swap else given
    wanted = pixels.float()
    if given == 'bgr':
        wanted = wanted[:, [2, 1, 0]]
    got = raw_images(inputs, preprocessor, order)
    assert got.dtype == torch.float32
    assert (got - wanted).abs().max() < 1e-3


def test_without_normalisation(pixels):
    for kind in ('mmpretrain.ClsDataPreprocessor',
                 'mmengine.ImgDataPreprocessor'):
        inputs, preprocessor = preprocess(pixels, type=kind)
        assert torch.equal(raw_images(inputs, preprocessor), pixels.float())


def test_grey(pixels):
    grey = pixels[:, :1]
    inputs, preprocessor = preprocess(
        grey, type='mmpretrain.ClsDataPreprocessor', mean=[33.], std=[78.])
    got = raw_images(inputs, preprocessor)
    assert (got - grey.expand(-1, 3, -1, -1)).abs().max() < 1e-3


def test_mixup_is_seen(pixels):
    inputs, preprocessor = preprocess(
        pixels, type='mmpretrain.ClsDataPreprocessor', mean=MEAN, std=STD)
    mixed = 0.3 * inputs + 0.7 * inputs.roll(1, 0)
    wanted = 0.3 * pixels.float() + 0.7 * pixels.float().roll(1, 0)
    assert (raw_images(mixed, preprocessor) - wanted).abs().max() < 1e-3


def test_padding_is_the_mean_colour(pixels):
    inputs, preprocessor = preprocess(
        pixels, type='mmengine.ImgDataPreprocessor', mean=MEAN, std=STD,
        pad_size_divisor=16)
    got = raw_images(inputs, preprocessor)
    assert got.shape == (3, 3, 16, 16)
    assert (got[:, :, :8, :8] - pixels.float()).abs().max() < 1e-3
    wanted = torch.tensor(MEAN).view(3, 1, 1).expand(3, 8, 8)
    torch.testing.assert_close(got[0, :, 8:, 8:], wanted)


def test_range(pixels):
    inputs, preprocessor = preprocess(
        pixels, type='mmpretrain.ClsDataPreprocessor', mean=MEAN, std=STD)
    got = raw_images(inputs * 3, preprocessor)
    assert got.min() == 0 and got.max() == 255


def test_inputs_stay(pixels):
    inputs, preprocessor = preprocess(
        pixels, type='mmpretrain.ClsDataPreprocessor', mean=MEAN, std=STD)
    before = inputs.clone()
    raw_images(inputs, preprocessor)
    assert torch.equal(inputs, before)
