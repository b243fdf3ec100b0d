"""What a GPU keeps of a feature bank is what the host reads from disk."""
import copy

import numpy as np
import pytest
import torch
from mmengine.utils import digit_version
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    FakeTensorMode,
)

from repfusion_mm.models.teachers.bank import store
from repfusion_mm.models.teachers.bank.store import FeatureBank

CPU = torch.device('cpu')
DIGITS = dict(type='repfusion_mm.Digits', split='val',
              pipeline=[dict(type='mmpretrain.PackInputs')])
BINS = dict(timesteps=[25, 75], bin_width=50)


@pytest.fixture
def banked(build, pipeline_folder, tmp_path):
    """An open bank, filled with noise."""

    def make(full=True, **parts):
        teacher = build(dict(
            type='repfusion_mm.BankedTeacher',
            teacher=dict(type='repfusion_mm.UNetTeacher',
                         pretrained=pipeline_folder),
            bank=str(tmp_path / 'bank'), dataset=DIGITS, channel_order='rgb',
            **{**BINS, **parts}))
        teacher.init_weights()
        bank = teacher._bank
        entries = np.arange(bank._entries - (not full))
        bank.write(entries, np.random.default_rng(0).normal(
            size=(len(entries), bank._width)).astype('<f2'))
        return teacher

    return make


@pytest.fixture
def draws():
    """Some t, and entries of the bank's images, (64,) each."""
    return torch.randint(100, (64, )), torch.randint(400, (64, ))


@pytest.mark.parametrize('parts', [
    dict(), dict(flips=False), dict(timesteps=[50], bin_width=100)], ids=str)
def test_rows(banked, draws, parts):
    teacher, (timesteps, views) = banked(**parts), draws
    if not teacher.flips:
        views = views // 2 * 2
    kept = teacher._bank.on(CPU)
    assert kept.dtype == torch.float16
    wanted = teacher._drawn(timesteps, views)
    assert torch.equal(teacher._drawn_there(timesteps, views, kept), wanted)
    # what is not stored is no number, and no other's row
    timesteps[::3] = 100
    found = teacher._drawn_there(timesteps, views, kept)
    assert found[::3].isnan().all()
    assert torch.equal(found[1::3], wanted[1::3])


def test_kept_once_it_is_full(banked, monkeypatch):
    teacher = banked(full=False)
    bank = teacher._bank
    assert bank.on(CPU) is None and not bank.is_full
    last = bank.missing
    assert last.tolist() == [799]
    bank.write(last, np.ones((1, bank._width), '<f2'))
    kept = bank.on(CPU)
    assert bank.is_full and torch.equal(
        kept, torch.from_numpy(bank.read(np.arange(800))[0]))
    assert bank.on(CPU) is kept
    # an EMA copy has no other
    assert copy.deepcopy(teacher)._bank.on(CPU) is kept


def test_too_large(banked, monkeypatch):
    bank = banked()._bank
    size = 2 * bank._entries * bank._width
    monkeypatch.setattr(store, 'ON_GPU', size - 1)
    assert FeatureBank(bank.folder).on(CPU) is None
    monkeypatch.setattr(store, 'ON_GPU', size)
    assert FeatureBank(bank.folder).on(CPU) is not None


def test_damaged(banked, tmp_path):
    """By way of the host, where the row is computed again."""
    bank = banked()._bank
    with open(tmp_path / 'bank' / 'features.f16', 'r+b') as file:
        file.write(b'12345678')
    assert bank.is_full and bank.on(CPU) is None


@pytest.fixture
def gpu():
    """A GPU that computes shapes only: reading a value from it raises."""
    if digit_version(torch.__version__) < digit_version('2.2'):
        pytest.skip('this torch asks a driver for a GPU that is not there')
    with FakeTensorMode(allow_non_fake_inputs=True):
        yield torch.device('cuda', 0)


@pytest.mark.parametrize('full', [True, False])
def test_no_wait(banked, full, request):
    teacher = banked(full)
    gpu = request.getfixturevalue('gpu')
    timesteps = torch.zeros(4, dtype=torch.long, device=gpu)
    views = torch.tensor([0, 1, 2, 3])
    if not full:  # the host must know which rows to read
        with pytest.raises(DataDependentOutputException):
            teacher(None, timesteps, views)
        return
    features = teacher(None, timesteps, views)['mid_block']
    assert features.device == gpu and features.shape == (4, 32)
    assert features.dtype == torch.float32


def sampler(name, **cfg):
    return dict(type=f'repfusion_mm.{name}', **cfg)


@pytest.fixture
def model(build, repfusion, pipeline_folder, tmp_path):
    """A model with a bank of some t, and a sampler."""

    def make(time_sampler, **parts):
        return build(repfusion(
            reward=sampler('ClassificationReward', num_classes=10),
            time_sampler=time_sampler, teacher=dict(
                type='repfusion_mm.BankedTeacher',
                teacher=dict(type='repfusion_mm.UNetTeacher',
                             pretrained=pipeline_folder),
                bank=str(tmp_path / 'bank'), dataset=DIGITS,
                channel_order='rgb', **{**BINS, **parts})))

    return make


@pytest.mark.parametrize('time_sampler, parts', [
    (sampler('FixedTime', t=99), {}),
    (sampler('UniformTime', max_t=100), {}),
    (sampler('UniformTime', min_t=100, max_t=101),
     dict(timesteps=[100], bin_width=1)),
    (sampler('ReinforcedTime', num_timesteps=100), {})], ids=str)
def test_sampler_that_suits(model, time_sampler, parts):
    model(time_sampler, **parts)


@pytest.mark.parametrize('time_sampler, parts, t', [
    (sampler('FixedTime', t=100), {}, 100),
    (sampler('UniformTime', max_t=101), {}, 100),
    (sampler('UniformTime', min_t=24, max_t=27),
     dict(timesteps=[25], bin_width=1), 24),
    (sampler('ReinforcedTime'), {}, 100)], ids=str)
def test_sampler_that_does_not(model, time_sampler, parts, t):
    """Before training, and not at the first draw."""
    with pytest.raises(ValueError, match=f'`time_sampler` may draw t = {t}, '
                       'but `teacher.timesteps` is .* let it draw from these'):
        model(time_sampler, **parts)


@pytest.mark.gpu
@pytest.mark.parametrize('full', [True, False])
def test_gpu(banked, draws, full):
    """The same rows, and of a full bank without waiting."""
    teacher, (timesteps, views) = banked(full), draws
    wanted = teacher(None, timesteps, views)
    teacher, there = teacher.cuda(), timesteps.cuda()
    teacher(None, there, views)  # the rows are sent
    try:
        torch.cuda.set_sync_debug_mode('error' if full else 'default')
        found = teacher(None, there, views)
    finally:
        torch.cuda.set_sync_debug_mode('default')
    for tap, feature in wanted.items():
        assert found[tap].is_cuda
        assert torch.equal(found[tap].cpu(), feature)
