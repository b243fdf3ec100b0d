import pytest
import torch

from repfusion_mm.models.utils.raw_images import build_raw_image, raw_images
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


def recovered(pipelined, channel_order='rgb', raw_image=None, **cfg):
    """What a teacher is shown of what a pipeline gave."""
    preprocessor = MODELS.build(
        dict(type='mmpretrain.ClsDataPreprocessor', **cfg))
    batch = preprocessor(dict(inputs=list(pipelined)), training=False)
    to_raw = build_raw_image(raw_image, channel_order)
    return to_raw(batch['inputs'], preprocessor)


TORCHVISION = dict(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])


def normalised(images, mean, std):
    mean, std = (torch.tensor(one).view(-1, 1, 1) for one in (mean, std))
    return (images - mean) / std


@pytest.mark.parametrize('pipelined, raw_image, cfg', [
    (lambda x: x / 255, dict(range=(0, 1)), dict()),
    (lambda x: normalised(x / 255, **TORCHVISION),
     dict(range=(0, 1), **TORCHVISION), dict()),
    (lambda x: x / 255, dict(range=[0, 1]), TORCHVISION),
    (lambda x: normalised(x, MEAN, STD), dict(mean=MEAN, std=STD), dict()),
    # by the pipeline and once more by the preprocessor
    (lambda x: normalised(x / 255, [0.5], [0.5]),
     dict(range=(0, 1), mean=[0.5], std=[0.5]), TORCHVISION),
    (lambda x: x * 257, dict(range=(0, 65535)),
     dict(mean=[25000.], std=[15000.])),
    (lambda x: x / 127.5 - 1, dict(range=(-1, 1)), dict()),
    (lambda x: x * 16 + 100, dict(range=(100, 4180)), dict()),
    (lambda x: x, None, dict(mean=[33.], std=[78.])),
], ids=range(9))
@pytest.mark.parametrize('order', ['rgb', 'bgr'])
def test_what_the_pipeline_gives(pixels, pipelined, raw_image, cfg, order):
    pixels = pixels.float()
    got = recovered(pipelined(pixels), order, raw_image, **cfg)
    wanted = pixels.flip(1) if order == 'bgr' else pixels
    assert (got - wanted).abs().max() < 1e-2


@pytest.mark.parametrize('channels, order, wanted', [
    ((0, 1, 2), 'rgb', [0, 1, 2]), ((2, 1, 0), 'rgb', [2, 1, 0]),
    ((2, 1, 0), 'bgr', [0, 1, 2]), ([3], 'rgb', [3, 3, 3]),
    ([3], 'bgr', [3, 3, 3]), ((3, 3, 1), 'rgb', [3, 3, 1])])
@pytest.mark.parametrize('cfg', [
    dict(), dict(mean=[1., 2., 3., 4.], std=[10., 20., 30., 40.])])
def test_four_channels(channels, order, wanted, cfg):
    pixels = torch.randint(0, 256, (3, 4, 8, 8)).float()
    got = recovered(pixels, order, dict(channels=channels), **cfg)
    assert (got - pixels[:, wanted]).abs().max() < 1e-3


@pytest.mark.parametrize('number', [2, 4, 13])
def test_channels_must_be_picked(number):
    with pytest.raises(ValueError, match=f'images have {number} channels.*'
                       r'`raw_image=dict\(channels=\(0, 1, 2\)\)`.*color'):
        recovered(torch.rand(2, number, 8, 8) * 255)
    with pytest.raises(ValueError, match=r'channels` is \(0, 1, 13\), but.*'
                       f'0 to {number - 1}'):
        recovered(torch.rand(2, number, 8, 8) * 255,
                  raw_image=dict(channels=(0, 1, 13)))


@pytest.mark.parametrize('raw_image, match', [
    (dict(rang=(0, 1)), "no 'rang'; nearest: 'range'"),
    ((0, 1), 'expected a dict'),
    (dict(range=(255, 0)), 'values of black and of white'),
    (dict(range=1), 'values of black and of white'),
    (dict(range='01'), 'values of black and of white'),
    (dict(mean=[0.5]), 'two lists of as many'),
    (dict(mean=[0.5], std=[0.]), 'above 0'),
    (dict(mean=[0.5] * 3, std=[0.5]), 'two lists of as many'),
    (dict(mean=0.5, std=0.5), 'two lists of as many'),
    (dict(channels=3), 'places of three'),
    (dict(channels=(0, 1)), 'places of three'),
    (dict(channels=(0, 1, -1)), 'places of three'),
], ids=str)
def test_wrong_settings(raw_image, match):
    with pytest.raises(ValueError, match=f'`raw_image.*{match}'):
        build_raw_image(raw_image, 'rgb')


def test_refused_and_how_to_say_it(pixels):
    inputs, preprocessor = preprocess(
        pixels.float() / 255, type='mmpretrain.ClsDataPreprocessor')
    with pytest.raises(ValueError, match='`raw_image.range` has black at 0 '
                       'and white at 255'):
        build_raw_image(None, 'rgb')(inputs, preprocessor)
    build_raw_image(dict(range=(0, 1)), 'rgb')(inputs, preprocessor)


def test_only_the_first_batches_are_looked_at(pixels, monkeypatch):
    inputs, preprocessor = preprocess(
        pixels, type='mmpretrain.ClsDataPreprocessor', mean=MEAN, std=STD)
    to_raw = build_raw_image(None, 'rgb')
    looks = []
    judge = to_raw._check._judge
    monkeypatch.setattr(to_raw._check, '_judge',
                        lambda *args: looks.append(args) or judge(*args))
    for _ in range(5):
        to_raw(inputs, preprocessor)
    assert len(looks) == 2
    to_raw(inputs * 100, preprocessor)  # too late


@pytest.mark.parametrize('kind, key', [
    ('mmpretrain.ClsDataPreprocessor', 'pad_value'),
    ('mmengine.ImgDataPreprocessor', 'pad_value'),
    ('mmseg.SegDataPreProcessor', 'pad_val')])
def test_padding_behind_the_normalisation(pixels, kind, key):
    # a value that means something to who pads before it
    if 'mmseg' in kind:
        pytest.importorskip('mmseg')
        from mmseg.structures import SegDataSample
        preprocessor = MODELS.build(dict(
            type=kind, mean=MEAN, std=STD, size=(16, 16), pad_val=114))
        batch = preprocessor(dict(
            inputs=list(pixels), data_samples=[
                SegDataSample() for _ in pixels]), training=True)
        inputs = batch['inputs']
    else:
        inputs, preprocessor = preprocess(
            pixels, type=kind, mean=MEAN, std=STD, pad_size_divisor=16,
            **{key: 114})
    assert inputs.shape == (3, 3, 16, 16)
    got = build_raw_image(None, 'rgb')(inputs, preprocessor)
    assert (got[:, :, :8, :8] - pixels.float()).abs().max() < 1e-3


@pytest.mark.parametrize('inputs, said', [
    ([torch.zeros(3, 8, 8)] * 2, 'a list of 2'),
    (dict(inputs=[]), 'a dict of 1'),
    (torch.zeros(2, 3, 4, 8, 8), r'a tensor of shape \(2, 3, 4, 8, 8\)'),
    (torch.zeros(3, 8, 8), r'a tensor of shape \(3, 8, 8\)')])
def test_no_batch_of_images(inputs, said):
    with pytest.raises(ValueError, match=f'`data_preprocessor` Identity gives '
                       f'{said}, but one tensor.*ClsDataPreprocessor'):
        build_raw_image(None, 'rgb')(inputs, torch.nn.Identity())


def test_settings_of_a_foreign_preprocessor(pixels):
    # lists in place of buffers, no deviation
    class Foreign:
        mean = [10, 20, 30]

    given = pixels.float() - torch.tensor([10., 20, 30]).view(3, 1, 1)
    got = build_raw_image(None, 'rgb')(given, Foreign())
    assert torch.equal(got, pixels.float())


def test_nothing_in_a_checkpoint():
    to_raw = build_raw_image(dict(mean=[1.], std=[1.]), 'rgb')
    assert not to_raw.state_dict() and not list(to_raw.parameters())
    assert to_raw.to(torch.float64).mean.dtype == torch.float64  # it moves
