"""repfusion_mm/analysis/compare.py and short_training.py"""
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from repfusion_mm.analysis.compare import Part, compare
from repfusion_mm.analysis.look import look
from repfusion_mm.analysis.looked_images import view_images
from repfusion_mm.analysis.short_training import (
    LabelledImages,
    Reader,
    scores,
    train,
)
from repfusion_mm.models.utils.raw_images import build_raw_image
from tests.test_analysis.spots import Spots


@pytest.fixture
def model(build, pipeline_folder):
    pytest.importorskip('mmpose.structures')
    teacher = build(dict(type='repfusion_mm.UNetTeacher', taps=['conv_in'],
                         pretrained=pipeline_folder))
    teacher.init_weights()
    return SimpleNamespace(
        teacher=teacher, raw_image=build_raw_image(None, 'bgr'),
        data_preprocessor=build(dict(
            type='mmpretrain.ClsDataPreprocessor', mean=[120.] * 3,
            std=[50.] * 3)),
        connections=[SimpleNamespace(student_tap='out.-1')])


def student():
    """Its map, of 4x4, is coarser than the grid."""
    return nn.Sequential(nn.Conv2d(3, 32, 4, stride=4), nn.ReLU())


def part(model, number):
    spots = Spots(number)
    return Part(spots, view_images(spots, range(number), 1,
                                   model.data_preprocessor, model.raw_image),
                (8, 8, 8), 1)


@pytest.mark.parametrize('val', [None, 20])
def test_a_head_on_both(model, val):
    """What is seen at a convolution, and what a student can learn."""
    torch.manual_seed(0), np.random.seed(0)
    learn = part(model, 40)
    test = part(model, val) if val else learn
    looks = look(model.teacher, learn.looked, [3, 700], ['conv_in'])
    named = []
    found = compare(model, student, learn, test, looks, 40, 'cpu',
                    lambda steps, what: named.append((what, len(steps)))
                    or steps)
    count = val or 40
    assert all(one.shape == (count, ) for one in found)
    assert found.probe.mean() > 0.8
    assert found.scratch.mean() > 0.5
    assert named[:3] == [
        ('on the teacher, 1 of 5', 40), ('from scratch, 1 of 5', 40),
        ('half as long, 1 of 5', 20)]
    assert len(named) == 15


def test_teacher_stays_as_it_is(model):
    """The head alone is trained on it, and every draw of t is the same."""
    spots = Spots(8)
    images = LabelledImages(spots, model.data_preprocessor, (8, 8), 1)
    before = {name: value.clone() for name, value in model.teacher.weights()}
    network = model.teacher.network

    def features(inputs, samples):
        assert not network.training
        return model.teacher(inputs, torch.full((len(inputs), ), 3))['conv_in']

    reader = Reader(features, model.teacher.feature_shapes['conv_in'], 1,
                    (8, 8))
    assert all('head' in name for name, _ in reader.named_parameters())
    train(reader, images, range(8), 2)
    assert scores(reader, images, range(8), views=2).shape == (8, )
    for name, value in model.teacher.weights():
        assert torch.equal(value, before[name])


def test_reader_of_classes():
    reader = Reader(lambda inputs, samples: inputs, (3, 4, 4), 5, None)
    inputs = torch.randn(2, 3, 4, 4)
    torch.testing.assert_close(reader(inputs, None), reader.head(
        inputs.mean((2, 3)))[:, None])


@pytest.mark.parametrize('shape, doublings', [
    ((3, ), 3), ((3, 2, 2), 2), ((3, 5, 3), 2), ((3, 8, 8), 0),
    ((3, 16, 16), 0)])
def test_reader_of_maps(shape, doublings):
    """At the cells of the grid, from features as they come, by 3 layers."""
    reader = Reader(lambda inputs, samples: inputs, shape, 5, (8, 8)).eval()
    kinds = [type(layer) for layer in reader.head]
    assert kinds.count(nn.ConvTranspose2d) == doublings
    assert kinds.count(nn.ReLU) == 3
    inputs = torch.zeros(1, *shape)
    inputs.view(1, 3, -1)[..., 0] = 1000.  # in a corner
    before, found = (reader(one, None)
                     for one in (torch.zeros_like(inputs), inputs))
    assert found.shape == (1, 64, 5)
    changed = (found - before).abs().amax((0, 2)).view(8, 8)
    assert changed[0, 0] > 1e-3
    assert changed[-1, -1] < 1e-6 or min(shape) < 3 or len(shape) == 1


def test_views_without_a_label_do_not_count(model):
    """Of an image whose crops show it now and then."""
    spots, shown = Spots(1), [True, False, False, True]

    class Cropped(Spots):
        def __getitem__(self, index):
            sample = spots[0]
            if not shown.pop():
                sample['data_samples'].gt_instances.keypoints_visible[:] = 0
            return sample

    images = LabelledImages(Cropped(1), model.data_preprocessor, (8, 8), 1)
    wanted = LabelledImages(spots, model.data_preprocessor, (8, 8),
                            1).batch([0])[2].values

    class Right(Reader):
        def forward(self, inputs, data_samples):
            return wanted

    reader = Right(None, (3, 8, 8), 1, (8, 8))
    assert scores(reader, images, [0], views=4).tolist() == [1.]


def test_masks_of_other_sizes(build):
    """The grid is settled once; cells without a label are not asked."""
    mmseg = pytest.importorskip('mmseg.structures')
    from mmengine.structures import PixelData

    class Halves:
        def __init__(self, side):
            self.side = side

        def __getitem__(self, index):
            image = torch.zeros(3, self.side, self.side, dtype=torch.uint8)
            image[:, :self.side // 2] = 255
            mask = (image[:1] > 0).long()
            mask[..., -self.side // 4:] = 255  # unlabelled
            return dict(inputs=image, data_samples=mmseg.SegDataSample(
                gt_sem_seg=PixelData(data=mask)))

    preprocessor = build(dict(type='mmpretrain.ClsDataPreprocessor',
                              mean=[120.] * 3, std=[50.] * 3))
    small, large = (LabelledImages(Halves(side), preprocessor, (8, 8), 2)
                    for side in (16, 24))
    reader = Reader(lambda inputs, samples: inputs, (3, 16, 16), 2, (8, 8))
    train(reader, small, [0, 1], 20)
    for images in (small, large):
        assert scores(reader, images, [0, 1], 2).tolist() == [1., 1.]
