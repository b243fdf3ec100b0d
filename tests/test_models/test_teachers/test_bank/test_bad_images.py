"""A bank of a folder in which some images cannot be read."""
import os

import numpy as np
import pytest
import torch
from PIL import Image

from repfusion_mm.datasets.transforms import skipped
from repfusion_mm.models.teachers.bank.images import NoImageError

PIXELS = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), np.uint8)
LOADERS = [dict(type='repfusion_mm.LoadCheckedImage', bad_images='skip'),
           dict(type='mmpretrain.LoadImageFromFile', ignore_empty=True)]


@pytest.fixture(autouse=True)
def anew():
    skipped.forget()
    yield
    skipped.forget()


@pytest.fixture
def banked(build, pipeline_folder, tmp_path):
    """An open bank of five images, of which the third is empty."""

    def make(loader, bank='bank', bad=True):
        folder = tmp_path / 'images'
        folder.mkdir(exist_ok=True)
        for index, pixels in enumerate(PIXELS):
            Image.fromarray(pixels).save(folder / f'{index}.png')
        if bad:
            (folder / '2.png').write_bytes(b'')
        teacher = build(dict(
            type='repfusion_mm.BankedTeacher',
            teacher=dict(type='repfusion_mm.UNetTeacher',
                         pretrained=pipeline_folder),
            taps=['mid_block.resnets.1'], bank=str(tmp_path / bank),
            timesteps=[100, 300], channel_order='bgr',
            dataset=dict(type='mmpretrain.CustomDataset',
                         data_root=str(folder), with_label=False,
                         pipeline=[loader, dict(
                             type='mmpretrain.PackInputs')])))
        teacher.init_weights()
        return teacher, folder

    return make


def drawn(teacher, folder, names):
    from mmpretrain.structures import DataSample
    samples = [DataSample(metainfo=dict(
        img_path=str(folder / f'{name}.png'), flip=True,
        flip_direction='horizontal')) for name in names]
    features = teacher(torch.zeros(len(names), 3, 16, 16),
                       torch.full((len(names), ), 300),
                       teacher.read_samples(samples))
    return features['mid_block.resnets.1']


@pytest.mark.parametrize('loader', LOADERS, ids=lambda one: one['type'])
def test_filled_but_for_the_bad_one(banked, loader):
    """No other image's features are stored in its place."""
    whole, folder = banked(LOADERS[0], 'whole', bad=False)
    list(whole.fill(8))
    teacher, _ = banked(loader)
    assert list(teacher.fill(8)) == [20, 12, 4, 0]
    rows, there = teacher._bank.read(np.arange(20))
    assert there.all() and teacher._bank.is_full
    bad = np.arange(20) // 4 == 2  # two t, mirrored or not
    assert np.isnan(rows[bad]).all() and np.isfinite(rows[~bad]).all()
    wanted, _ = whole._bank.read(np.arange(20))
    torch.testing.assert_close(  # in batches of other sizes
        torch.from_numpy(rows[~bad]), torch.from_numpy(wanted[~bad]),
        rtol=2e-3, atol=2e-3)
    assert torch.equal(drawn(teacher, folder, [3, 4]).half(),
                       torch.from_numpy(rows[[15, 19]]))
    with pytest.raises(NoImageError, match='2.png'):
        drawn(teacher, folder, [2])
    # asked again, but not for the others
    assert list(teacher.fill(8)) == [4, 0]


def test_mended(banked):
    teacher, folder = banked(LOADERS[0])
    list(teacher.fill(20))
    Image.fromarray(PIXELS[2]).save(folder / '2.png')
    assert drawn(teacher, folder, [2]).isfinite().all()  # in a training
    assert list(teacher.fill(20)) == [3, 0]  # or by the tool
    assert list(teacher.fill(20)) == [0]


def test_name_that_is_no_text(banked, tmp_path):
    folder = tmp_path / 'images'
    folder.mkdir()
    Image.fromarray(PIXELS[0]).save(folder / os.fsdecode(b'caf\xe9.png'))
    teacher, _ = banked(LOADERS[0])
    assert len(teacher._images) == 6
    list(teacher.fill(24))
    assert drawn(teacher, folder, [os.fsdecode(b'caf\xe9')]).isfinite().all()


def test_the_same_name_in_two_folders(banked, tmp_path):
    (tmp_path / 'images/other').mkdir(parents=True)
    Image.fromarray(PIXELS[4]).save(tmp_path / 'images/other/1.png')
    teacher, folder = banked(LOADERS[0])
    list(teacher.fill(24))
    rows = drawn(teacher, folder, ['1', 'other/1', '4'])
    assert torch.allclose(rows[1], rows[2], atol=2e-3)
    assert not torch.allclose(rows[0], rows[1], atol=2e-3)
