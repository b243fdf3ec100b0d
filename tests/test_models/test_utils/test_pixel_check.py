import copy

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from repfusion_mm.models.utils.pixel_check import ENOUGH, LONGEST, PixelCheck


@pytest.fixture
def photos():
    """Levels as of 8-bit photos, float, (4, 3, 8, 8)."""
    return torch.randint(0, 256, (4, 3, 8, 8)).float()


def look(levels, times=1, padding=None, range=(0, 255)):
    check = PixelCheck('raw_image', range)
    if padding is None:
        padding = torch.zeros_like(levels, dtype=torch.bool)
    for _ in [None] * times:
        check.look(levels, padding)
    return check


MEAN = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)


@pytest.mark.parametrize('seen', [
    lambda x: x / 255,  # ToTensor
    lambda x: (x / 255 - MEAN) / STD,  # and Normalize
    lambda x: (x - 255 * MEAN) / (255 * STD),  # mmcv's Normalize
    lambda x: x / 127.5 - 1,
    lambda x: (x / 255 - 0.1307) / 0.3081,  # of MNIST
    lambda x: x / 58,  # no mean
    lambda x: x - 255 * MEAN,  # no deviation
    lambda x: (x / 255 - 0.5) / 0.05,
    lambda x: 257 * x,  # 16 bit
    lambda x: 4 * x,  # 10 bit
    lambda x: 4096 * (x / 255) - 1024,  # Hounsfield units
    lambda x: -x - 100,
], ids=range(12))
def test_no_pixels(photos, seen):
    with pytest.raises(ValueError, match=r'lie between .* `raw_image.range` '
                       r'.*`raw_image=dict\(range=\(0, 1\)\)`.*ToTensor'):
        look(seen(photos))


@pytest.mark.parametrize('seen', [
    lambda x: x,
    lambda x: 0.3 * x + 0.7 * x.flip(0),  # mixup
    lambda x: (x / 50).round(),  # dark, of 8 bit
    lambda x: (x / 255).round(),
    lambda x: x / 10,  # dark, resized or jittered
    lambda x: 1.5 * (x + 32),  # brightness and contrast, unclamped
    lambda x: x - 32,
    lambda x: x + 20 * torch.randn_like(x),
    lambda x: 0 * x,  # black
    lambda x: 0 * x + 0.4,
    lambda x: 0 * x + 255,
    lambda x: x[:1, :1, :1, :1],
], ids=range(12))
def test_pixels(photos, seen):
    look(seen(photos), times=LONGEST - 1)


def test_masks_of_0_and_1(photos):
    # as levels black squares; a single batch could be of a dark album
    masks = (photos > 128).float()
    look(masks, LONGEST - 1)
    with pytest.raises(ValueError, match='between 0 and 1 '):
        look(masks, LONGEST)


def test_range_in_the_message(photos):
    with pytest.raises(ValueError, match='between 0 and 255 .* black at 0 and '
                       'white at 1:'):
        look(photos.clamp(0, 255) * 255, range=(0, 1))


def test_nan(photos):
    photos[1, 2, 3, 4] = torch.nan
    with pytest.raises(ValueError, match='hold NaN .*`std` 0'):
        look(photos)


def test_padding_is_not_looked_at(photos):
    padding = torch.zeros_like(photos, dtype=torch.bool)
    padding[..., 4:] = True
    photos[..., 4:] = 7e4
    with pytest.raises(ValueError, match='70000'):
        look(photos)
    assert look(photos, 2, padding)._clear == 2
    nothing = look(photos, 2, torch.ones_like(padding))
    assert nothing.is_needed


def test_ends_after_the_first_images(photos):
    check = look(photos, ENOUGH)
    assert not check.is_needed
    assert look(photos, ENOUGH - 1).is_needed
    dark = look((photos / 50).round(), ENOUGH)  # tells nothing
    assert dark.is_needed
    assert not look((photos / 50).round(), LONGEST).is_needed


class Event:
    """A CUDA event that has arrived when it is said so."""
    arrived = False

    def record(self):
        pass

    def query(self):
        return Event.arrived


def test_gpu_is_not_waited_for(photos, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'Event', Event)
    with FakeTensorMode(allow_non_fake_inputs=True):
        check = look(photos.to('cuda'), 3)  # reading a value would raise
    assert check.is_needed and len(check._on_the_way) == 3
    assert not copy.deepcopy(check)._on_the_way  # events are not copied

    # what arrives later is still refused
    late = torch.tensor([0., 70000., 0.])
    check._on_the_way.clear()
    check._on_the_way.append((late, Event()))
    with FakeTensorMode(allow_non_fake_inputs=True):
        on_gpu = photos.to('cuda')
        check.look(on_gpu, on_gpu < 0)
    monkeypatch.setattr(Event, 'arrived', True)
    with pytest.raises(ValueError, match='70000'), \
            FakeTensorMode(allow_non_fake_inputs=True):
        check.look(on_gpu, on_gpu < 0)


@pytest.mark.gpu
def test_gpu(photos):
    check = look(photos.cuda(), 1)
    torch.cuda.synchronize()
    check.look(photos.cuda(), photos.cuda() < 0)
    assert check._clear >= 1
    with pytest.raises(ValueError, match='little but black'):
        wrong = look((photos / 255).cuda(), 1)  # it may have arrived by now
        torch.cuda.synchronize()
        wrong.look(photos.cuda(), photos.cuda() < 0)
