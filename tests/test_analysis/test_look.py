import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData, PixelData
from torch import nn

from repfusion_mm.analysis.label_free import (
    high_frequency_ratio,
    two_view_agreement,
)
from repfusion_mm.analysis.look import best_of, look
from repfusion_mm.analysis.looked_images import LookedImages, can_be_held_out

TIMES = [100, 300, 500, 700]


class Teacher(nn.Module):
    """Its map is the image at t = 500, and noise elsewhere.

    Args:
        shape (tuple): Of the tap ``map``.
    """
    num_timesteps = 1000

    def __init__(self, shape=(6, 8, 8)):
        super().__init__()
        self.feature_shapes = dict(map=shape, noise=shape)
        self.mix = torch.linspace(-1, 1, 3 * shape[0]).sin().view(shape[0], 3)

    def read_samples(self, data_samples):
        return None

    def forward(self, images, timesteps, told=None):
        size = self.feature_shapes['map'][1:]
        small = nn.functional.adaptive_avg_pool2d(images, size or (1, 1))
        known = torch.einsum('kc,nchw->nkhw', self.mix, small / 255)
        noise = torch.randn_like(known)
        features = dict(
            map=torch.where((timesteps == 500).view(-1, 1, 1, 1), known,
                            noise), noise=noise)
        return {tap: f if size else f.flatten(1)
                for tap, f in features.items()}


def looked(images, samples):
    """N images in V views, with a data sample for each view."""
    return LookedImages(images.to(torch.uint8), samples,
                        list(range(len(images))))


def colours(count=40, views=2):
    """Images of one colour, red or blue, 16x16, and their class."""
    classes = torch.arange(count) % 2
    images = torch.full((count, views, 3, 16, 16), 60.)
    for image, label in zip(images, classes):
        image[:, 2 * int(label)] = 220
    return images + 20 * torch.rand_like(images), classes


def test_classes(samples):
    images, classes = colours()
    found = look(Teacher(), looked(images, samples(
        classes.repeat_interleave(2).tolist())), TIMES, ['noise', 'map'])
    assert found['map'].rewards.shape == (40, 2, 4)
    record = found['map'].record()
    assert record['chosen_t'] in (500, 700)  # and its neighbour, smoothed
    assert np.argmax(record['reward']) == 2
    assert record['score'][2] == 1. and record['score'][0] < 0.8
    # a perfect prediction is worth 0, ignorance about -log 2
    assert record['reward'][2] > -0.05 > -0.6 > record['reward'][0]
    assert best_of(found)[0] == 'map'


def test_left_out_images_are_not_known_by_their_absence(samples):
    """Where features tell nothing, a tenth of ten classes is right."""
    images, _ = colours(200, 1)
    labels = torch.arange(200) % 10
    found = look(Teacher(), looked(images, samples(labels.tolist())),
                 [100, 200, 300], ['noise'])['noise']
    assert 0.05 < found.scores.mean() < 0.16


def test_views_of_an_image_are_left_out_together(samples):
    # noise that the views share says nothing of other images
    class Memory(Teacher):

        def forward(self, images, timesteps, told=None):
            key = images.flatten(1).sum(1).long() % 997
            code = torch.stack([torch.randn(
                200, generator=torch.Generator().manual_seed(int(k)))
                for k in key])
            return dict(map=code)

    teacher = Memory(shape=(200, ))
    images, classes = colours(30, 1)
    both = images.round().repeat(1, 3, 1, 1, 1)
    found = look(teacher, looked(both, samples(
        torch.randint(2, (30, )).repeat_interleave(3).tolist())), [0, 1],
        ['map'])['map']
    assert found.scores.mean() < 0.75


def test_multi_label():
    from mmpretrain.structures import DataSample
    images, classes = colours()
    data = [DataSample().set_gt_score(torch.tensor(
        [float(c), 1. - float(c), 1.])) for c in classes.repeat_interleave(2)]
    found = look(Teacher(), looked(images, data), TIMES, ['map'])['map']
    assert found.rewards.mean((0, 1)).argmax() == 2
    assert found.scores[..., 2].mean() > 0.95


def halves(count=12):
    """Images of which a left part of some width is red, the rest blue."""
    images = torch.zeros(count, 2, 3, 16, 16)
    edges = 2 * torch.randint(2, 7, (count, ))
    for image, edge in zip(images, edges):
        image[:, 0, :, :edge] = 255
        image[:, 2, :, edge:] = 255
    return images, edges


def test_masks():
    from mmseg.structures import SegDataSample
    images, edges = halves()
    samples = []
    for edge in edges.repeat_interleave(2):
        mask = torch.ones(1, 16, 16, dtype=torch.long)
        mask[..., :edge] = 0
        mask[:, :9] = 255  # most of the upper half is not labelled
        samples.append(SegDataSample(gt_sem_seg=PixelData(data=mask)))
    found = look(Teacher(), looked(images, samples), TIMES, ['map'])['map']
    assert found.rewards.mean((0, 1)).argmax() == 2
    assert found.rewards[..., 2].mean() > -0.01
    assert found.scores[..., 2].mean() == 1
    # ignorance: the squared distance of two one-hot vectors' mean
    assert -0.8 < found.rewards[..., 0].mean() < -0.3


def test_keypoints():
    from mmpose.structures import PoseDataSample
    images = torch.zeros(24, 1, 3, 32, 32)
    samples = []
    for image in images:
        x, y = 31 * torch.rand(2)
        # as wide as a keypoint's Gaussian: four pixels, one cell
        across, down = (torch.exp(-(torch.arange(32) - place)**2 / 32)
                        for place in (x, y))
        image[0, 0] = 255 * down[:, None] * across
        points = np.array([[[x, y], [0, 0]]], 'float32')
        samples.append(PoseDataSample(gt_instances=InstanceData(
            transformed_keypoints=points,
            keypoints_visible=np.array([[1., 0.]], 'float32'))))
    found = look(Teacher(), looked(images, samples), TIMES, ['map'])['map']
    assert found.rewards.mean((0, 1)).argmax() == 2
    assert found.scores[..., 2].mean() == 1
    assert found.scores[..., 0].mean() < 0.6
    with pytest.raises(ValueError, match='keypoints have places.*frequency'):
        look(Teacher(shape=(6, )), looked(images, samples), TIMES, ['map'])


def test_high_frequencies():
    columns = torch.arange(8.)
    for period, wanted in ((8, 0.), (2, 1.)):
        wave = torch.cos(2 * torch.pi * columns / period)
        ratio = high_frequency_ratio(wave.expand(2, 3, 8, 8))
        assert ratio.tolist() == pytest.approx([wanted] * 2, abs=1e-5)
    found = look(Teacher(), looked(*halves()[:1], [None] * 24), TIMES,
                 ['map'], 'frequency')['map']
    assert found.rewards.mean((0, 1)).argmin() == 2  # smooth, unlike noise
    with pytest.raises(ValueError, match='\'frequency\' takes maps'):
        look(Teacher(shape=(6, )), looked(*halves()[:1], [None] * 24), TIMES,
             ['map'], 'frequency')


def test_agreement_of_views():
    torch.manual_seed(0)
    own = torch.randn(30, 1, 16).double()
    alike = two_view_agreement(own + 0.01 * torch.randn(30, 2, 16))
    other = two_view_agreement(torch.randn(30, 2, 16))
    assert alike.shape == (30, 2) and alike.mean() > -0.1
    assert other.mean() < -np.log(30) + 1
    images, _ = colours()
    with pytest.raises(ValueError, match='at least 2 views'):
        look(Teacher(), looked(images[:, :1], [None] * 40), TIMES, ['map'],
             'views')


def test_single_images_of_a_class(samples):
    images, _ = colours(5, 2)
    kept = can_be_held_out(looked(images, samples(
        [3, 3, 1, 1, 3, 3, 2, 2, 1, 1])))
    assert kept.indices == [0, 1, 2, 4]
    assert torch.cat([one.gt_label for one in kept.data_samples]).tolist() \
        == [3, 3, 1, 1, 3, 3, 1, 1]


@pytest.mark.parametrize('reward, message', [
    ('labels', 'at least 3 different images, but the data set has 2'),
    ('label', "'label', expected one of")])
def test_refused(samples, reward, message):
    images, _ = colours(2, 1)
    with pytest.raises(ValueError, match=message):
        look(Teacher(), looked(images, samples([0, 1])), TIMES, ['map'],
             reward)


class Collapsing(nn.Module):
    """Random features, of one direction but at t = 300; none says a class."""
    num_timesteps = 1000
    feature_shapes = dict(map=(6, ))

    def read_samples(self, data_samples):
        return None

    def forward(self, images, timesteps, told=None):
        code = torch.randn(len(images), 6) + 1
        code[:, 1:] *= float(timesteps[0] == 300)
        return dict(map=code)


def test_rank_decides_where_labels_say_nothing(samples):
    images, _ = colours(40, 2)
    torch.manual_seed(0)
    data = samples(torch.randint(2, (40, )).repeat_interleave(2).tolist())
    found = look(Collapsing(), looked(images, data), TIMES, ['map'])['map']
    assert found.rank.tolist()[0] == pytest.approx(1.)
    assert 4 < found.rank[1] <= 6
    assert found.best_t == 300 and found.record()['rank'][3] < 1.01
    some = found.of([0, 1, 2, 3])
    assert some.rank is found.rank  # it reads no labels
    # what is shown of the labels holds nothing of the rank
    mean = found.rewards.mean((0, 1))
    assert found.smoothed[1] == pytest.approx(
        float(mean[0] + 2 * mean[1] + mean[2]) / 4)


def test_rank_is_not_heard_for_masks(samples):
    """Not even where features have no positions."""
    from mmseg.structures import SegDataSample
    images, edges = halves()
    data = []
    for edge in edges.repeat_interleave(2):
        mask = torch.ones(1, 16, 16, dtype=torch.long)
        mask[..., :edge] = 0
        data.append(SegDataSample(gt_sem_seg=PixelData(data=mask)))
    found = look(Teacher((6, )), looked(images, data), TIMES, ['map'])['map']
    assert found.rank is None and 'rank' not in found.record()


def test_feature_that_is_not_finite(samples):
    class Broken(Teacher):

        def forward(self, images, timesteps, told=None):
            found = super().forward(images, timesteps)
            found['noise'][0, 0] = float('inf') * (timesteps[0] == 300)
            return found

    images, classes = colours(20, 1)
    with pytest.raises(FloatingPointError, match="'noise'.*t = 300.*dtype"):
        look(Broken(), looked(images, samples(classes.tolist())),
             [300], ['noise', 'map'])
