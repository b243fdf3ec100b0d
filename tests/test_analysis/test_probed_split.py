"""repfusion_mm/analysis/probed_split.py"""
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from repfusion_mm.analysis.probed_split import probed_split
from repfusion_mm.models.utils.raw_images import build_raw_image
from tests.test_analysis.spots import Spots

TAPS = ['conv_in', 'mid_block']
TIMES = [3, 700]


@pytest.fixture
def teacher(build, pipeline_folder):
    teacher = build(dict(type='repfusion_mm.UNetTeacher',
                         pretrained=pipeline_folder, taps=TAPS))
    teacher.init_weights()
    return teacher


@pytest.fixture
def preprocessing(build):
    return build(dict(
        type='mmpretrain.ClsDataPreprocessor', mean=[120.] * 3,
        std=[50.] * 3)), build_raw_image(None, 'bgr')


def loader(pixels, data_samples):
    return DataLoader(
        list(zip(pixels, data_samples)), 2, collate_fn=lambda pairs: dict(
            inputs=[pair[0] for pair in pairs],
            data_samples=[pair[1] for pair in pairs]))


@pytest.fixture
def key(pipeline_folder):
    return dict(teacher=dict(type='repfusion_mm.UNetTeacher',
                             pretrained=pipeline_folder), dataset='digits')


def test_classes(teacher, preprocessing, key, complete, samples, tmp_path,
                 monkeypatch):
    pixels = torch.randint(0, 256, (6, 3, 16, 16), dtype=torch.uint8)
    batches = loader(pixels, samples([4, -1, 0, -1, -1, 2]))
    found = probed_split(teacher, batches, preprocessing, TIMES,
                         str(tmp_path), key)
    assert found.labels().tolist() == [4, 0, 2]
    assert found.targets().kind == 'class'
    known = pixels[[0, 2, 5]].flip(1) / 127.5 - 1
    for t in TIMES:
        wanted = complete(known, torch.full((3, ), t), TAPS)
        for tap in TAPS:
            np.testing.assert_allclose(
                found.features.of(tap, found.images)[t],
                wanted[tap].mean((2, 3)), rtol=1e-3, atol=1e-4)

    # what is there is not computed again, what is lost is
    seen = []
    forward = type(teacher).forward
    monkeypatch.setattr(type(teacher), 'forward', lambda self, images, t,
                        told: seen.extend(t.tolist()) or forward(
                            self, images, t, told))
    before = np.array(found.features._features)
    found.features._marks[1, 2] = 0
    found.features._features[1, 2] = 0
    found.features._marks.flush(), found.features._features.flush()
    again = probed_split(teacher, batches, preprocessing, TIMES,
                         str(tmp_path), key)
    assert seen == [700]
    np.testing.assert_allclose(again.features._features, before, rtol=1e-4,
                               atol=1e-5)


def test_masks(teacher, preprocessing, key, complete, tmp_path):
    mmseg = pytest.importorskip('mmseg.structures')
    from mmengine.structures import PixelData
    pixels = torch.randint(0, 256, (2, 3, 16, 16), dtype=torch.uint8)
    masks = torch.zeros(2, 1, 16, 16, dtype=torch.long)
    masks[0, :, :8], masks[1] = 1, 255  # of the second nothing is known
    data = [mmseg.SegDataSample(gt_sem_seg=PixelData(data=mask))
            for mask in masks]
    found = probed_split(teacher, loader(pixels, data), preprocessing, TIMES,
                         str(tmp_path), key)
    assert found.images == [0]
    targets = found.targets(2)
    assert targets.grid == (8, 8) and targets.values.shape == (1, 64, 2)
    rows = found.features.of('mid_block', found.images)[3]
    wanted = complete(pixels[:1].flip(1) / 127.5 - 1, torch.tensor([3]),
                      ['mid_block'])['mid_block']
    np.testing.assert_allclose(rows[0], wanted[0].flatten(1).T, rtol=1e-3,
                               atol=1e-4)  # 8 x 8 already


def test_errors(teacher, preprocessing, key, samples, tmp_path):
    pixels = torch.zeros(2, 3, 16, 16, dtype=torch.uint8)
    with pytest.raises(ValueError, match='no image of the data set'):
        probed_split(teacher, loader(pixels, samples([-1, -1])),
                     preprocessing, TIMES, str(tmp_path), key)
    batches = loader(pixels, samples([1, 0]))

    class Endless:
        dataset = batches.dataset

        def __iter__(self):
            while True:
                yield from batches

    with pytest.raises(ValueError, match='shuffle=False'):
        probed_split(teacher, Endless(), preprocessing, TIMES,
                     str(tmp_path / 'other'), key)


def test_landmarks(teacher, preprocessing, key, tmp_path):
    pytest.importorskip('mmpose.structures')
    from repfusion_mm.analysis.dense_probe import dense_probe_over_time
    spots = list(Spots(40))
    pixels, data = ([spot[what] for spot in spots]
                    for what in ('inputs', 'data_samples'))
    splits = [probed_split(teacher, loader(pixels[part], data[part]),
                           preprocessing, TIMES, str(tmp_path / str(number)),
                           key) for number, part in enumerate(
                               (slice(24), slice(24, None)))]
    targets = [one.targets() for one in splits]
    assert targets[0].kind == 'keypoint' and targets[0].grid == (8, 8)
    rows = dense_probe_over_time(*(
        (one.features.of('conv_in', one.images), what)
        for one, what in zip(splits, targets)))
    # a convolution shows where the white spot is
    assert all(row['accuracy'] > 90 for row in rows)


def test_a_teacher_that_is_told_the_labels():
    teacher = SimpleNamespace(reads_labels=True, allows_label_leak=False)
    with pytest.raises(ValueError, match='told the label of each image'):
        probed_split(teacher, [], (None, None), [0], 'nowhere', {})
