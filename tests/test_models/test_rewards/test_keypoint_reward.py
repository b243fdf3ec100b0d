import json

import mmpose.codecs  # noqa: F401, fills mmpose's registry
import numpy as np
import pytest
import torch
from mmcv.transforms import KeyMapper
from mmpose.datasets import CombinedDataset
from mmpose.datasets.datasets import CocoDataset
from mmpose.datasets.transforms import (
    BottomupRandomAffine,
    GenerateTarget,
    GetBBoxCenterScale,
    PackPoseInputs,
    TopdownAffine,
)
from mmpose.models import PoseDataPreprocessor
from mmpose.registry import DATASETS

from repfusion_mm.models.rewards.base import RewardInputs
from repfusion_mm.models.rewards.keypoint_reward import gaussian_heatmaps

INPUT, HEATMAP = (24, 32), (6, 8)  # width and height
CODECS = [
    dict(type='MSRAHeatmap', input_size=INPUT, heatmap_size=HEATMAP, sigma=1),
    dict(type='SimCCLabel', input_size=INPUT, sigma=(1., 1.)),
    dict(type='RegressionLabel', input_size=INPUT),
    None,
]
# of a box from (10, 20) to (34, 52), which becomes the input image as it is
SHIFT = np.array([10, 20])


@pytest.fixture
def reward(build):

    def make(**cfg):
        module = build(dict(
            dict(type='repfusion_mm.KeypointReward', num_keypoints=3,
                 heatmap_size=HEATMAP, sigma=0.8,
                 feature_shapes={'a': (6, 4, 3), 'b': (5, 2, 2)}), **cfg))
        torch.nn.init.normal_(module.branch[-1].weight, std=0.1)
        torch.nn.init.normal_(module.branch[-1].bias, std=0.1)
        return module

    return make


@pytest.fixture
def features():
    return {'a': torch.randn(4, 6, 4, 3), 'b': torch.randn(4, 5, 2, 2)}


@pytest.fixture
def images():
    return torch.zeros(4, 3, *INPUT[::-1])


def topdown(points, visible, codec=CODECS[0], pack_transformed=True):
    """What mmpose makes of a person's keypoints in the input image."""
    results = dict(
        img=np.zeros((80, 60, 3), np.uint8), img_path='p.jpg',
        bbox=np.array([[*SHIFT, *(SHIFT + INPUT)]], np.float32),
        keypoints=np.array(points, np.float32)[None] + SHIFT,
        keypoints_visible=np.array(visible, np.float32)[None])
    steps = [GetBBoxCenterScale(padding=1.), TopdownAffine(input_size=INPUT),
             codec and GenerateTarget(encoder=codec),
             PackPoseInputs(pack_transformed=pack_transformed)]
    for step in steps:
        results = step(results) if step else results
    assert results['inputs'].shape == (3, *INPUT[::-1])
    return results['data_samples']


def collated(samples):
    """As they come out of the data preprocessor."""
    inputs = [torch.zeros(3, *INPUT[::-1])] * len(samples)
    return PoseDataPreprocessor()(
        dict(inputs=inputs, data_samples=samples),
        training=True)['data_samples']


POINTS = [[[3, 4], [20.5, 30.25], [12, 16]],
          [[0, 0], [23, 31], [11, 7]],
          [[5, 5], [6, 6], [7, 7]],
          [[-1, 5], [24, 3], [8, 30.9]]]
VISIBLE = [[1, 1, 1], [1, 0, 1], [0, 0, 0], [1, 1, 1]]
# the third shows none, the fourth only one inside the image
SEEN = np.array([[1, 1, 1], [1, 0, 1], [0, 0, 0], [0, 0, 1]], bool)


def bell(point, sigma=0.8, size=INPUT, cells=HEATMAP):
    """One heatmap, pixel by pixel, by distances in the image."""
    out = np.zeros(cells[::-1])
    for row, column in np.ndindex(*out.shape):
        # centres in shares of the image
        x = (column + 0.5) / cells[0] - (point[0] + 0.5) / size[0]
        y = (row + 0.5) / cells[1] - (point[1] + 0.5) / size[1]
        out[row, column] = np.exp(
            -((x * cells[0])**2 + (y * cells[1])**2) / (2 * sigma**2))
    return out


def predicted(module, feature):
    """The branch in float64, and enlarged in the order of the docstring."""
    module, x = module.branch.double(), feature.double()
    with torch.no_grad():
        for layer in module[:-1]:
            x = layer(x)
        x = torch.nn.functional.interpolate(
            x, HEATMAP[::-1], mode='bilinear', align_corners=False)
        out = module[-1](x).numpy()
    module.float()
    return out


def by_hand(module, feature):
    """The error of each image, one visible keypoint after the other."""
    values = []
    for maps, points, seen in zip(predicted(module, feature), POINTS, SEEN):
        errors = []
        for heatmap, point, is_seen in zip(maps, points, seen):
            if is_seen:
                target = bell(point)
                errors.append(np.mean((heatmap - target)**2) /
                              np.mean(target**2))
        values.append(np.mean(errors) if errors else 0.)
    return np.array(values)


@pytest.mark.parametrize('codec', CODECS,
                         ids=lambda codec: codec['type'] if codec else 'none')
@pytest.mark.parametrize('tap', [None, 'b'])
def test_value(reward, features, images, codec, tap):
    module = reward(tap=tap, loss_weight=3.)
    samples = collated([topdown(*person, codec)
                        for person in zip(POINTS, VISIBLE)])
    value, mask, losses = module(RewardInputs(
        images, None, features, {}, samples))
    wanted = by_hand(module, features[tap or 'a'])
    assert mask.dtype == torch.bool
    assert mask.tolist() == [True, True, False, True]
    assert value.shape == (4, ) and not value.requires_grad
    np.testing.assert_allclose(-value.numpy(), wanted, rtol=1e-4)
    assert losses['loss_reward'].item() == pytest.approx(
        3 * wanted.sum() / 3, rel=1e-4)


@pytest.mark.parametrize('sigma, cells', [(0.8, HEATMAP), (2., (16, 9))])
def test_heatmaps(sigma, cells):
    heatmaps, visible = gaussian_heatmaps(
        torch.tensor(POINTS).view(4, 1, 3, 2),
        torch.tensor(VISIBLE).bool()[:, None], INPUT, cells, sigma)
    assert visible.numpy().tolist() == SEEN.tolist()
    assert heatmaps.shape == (4, 3, *cells[::-1])
    for index in np.ndindex(4, 3):
        wanted = bell(POINTS[index[0]][index[1]], sigma, cells=cells) \
            if SEEN[index] else np.zeros(cells[::-1])
        np.testing.assert_allclose(heatmaps[index].numpy(), wanted, atol=1e-6)


def test_borders():
    # an image's pixels reach half a pixel beyond their centres
    points = torch.tensor([[-0.5, 0], [-0.51, 0], [23.49, 31.49], [23.5, 0],
                           [0, 31.5], [0, -0.51]])
    heatmaps, visible = gaussian_heatmaps(
        points[None, None], torch.ones(1, 1, 6).bool(), INPUT, HEATMAP, 0.5)
    assert visible.tolist() == [[True, False, True, False, False, False]]
    assert (heatmaps.flatten(2).max(2).values > 0.3).tolist() == \
        visible.tolist()


def test_heatmaps_of_several_instances():
    points = torch.tensor([[[[3., 4], [9, 9]], [[18, 25], [99, 9]],
                            [[5, 5], [float('nan')] * 2]]])
    heatmaps, visible = gaussian_heatmaps(
        points, torch.tensor([[[1, 0], [1, 1], [0, 1]]]).bool(), INPUT,
        HEATMAP, 0.8)
    assert visible.tolist() == [[True, False]]
    np.testing.assert_allclose(
        heatmaps[0, 0], np.maximum(bell((3, 4)), bell((18, 25))), atol=1e-6)
    assert not heatmaps[0, 1].any()


def test_perfect_and_empty_heatmaps(reward, features, images, monkeypatch):
    samples = collated([topdown(*person) for person in zip(POINTS, VISIBLE)])
    module = reward()
    torch.nn.init.zeros_(module.branch[-1].weight)
    torch.nn.init.zeros_(module.branch[-1].bias)
    value, mask, _ = module(RewardInputs(
        images, None, features, {}, samples))
    torch.testing.assert_close(value[mask], -torch.ones(3))

    perfect = torch.tensor([[bell(point) for point in points]
                            for points in POINTS])
    module.branch = torch.nn.Identity()
    value, _, losses = module(RewardInputs(
        images, None, {'a': perfect}, {}, samples))
    torch.testing.assert_close(value, torch.zeros(4))
    assert losses['loss_reward'].item() == pytest.approx(0)


def test_starts_with_empty_heatmaps(build, features, images):
    module = build(dict(type='repfusion_mm.KeypointReward', num_keypoints=3,
                        feature_shapes={'a': (6, 4, 3)}))
    samples = collated([topdown(*person) for person in zip(POINTS, VISIBLE)])
    value, mask, _ = module(RewardInputs(
        images, None, features, {}, samples))
    torch.testing.assert_close(value[mask], -torch.ones(3))


def test_comparable_across_counts(reward, images):
    # the same keypoint and feature, three times or once
    module = reward()
    layer = module.branch[-1]
    with torch.no_grad():
        for parameter in (layer.weight, layer.bias):
            parameter.copy_(parameter[:1].expand_as(parameter))
    feature = torch.randn(1, 6, 4, 3).expand(2, -1, -1, -1)
    samples = collated([topdown([[7, 8]] * 3, visible)
                        for visible in ([1, 1, 1], [0, 1, 0])])
    value, _, _ = module(RewardInputs(
        images[:2], None, {'a': feature}, {}, samples))
    assert value[0].item() == pytest.approx(value[1].item())


def test_unlabelled_teach_nothing(reward, features, images):
    module = reward()
    samples = collated([topdown(*person) for person in zip(POINTS, VISIBLE)])
    gradients = []
    for value in (0., 1.):
        features['a'][2] += value * torch.randn(6, 4, 3)
        module.zero_grad()
        losses = module(RewardInputs(images, None, features, {}, samples))[2]
        losses['loss_reward'].backward()
        gradients.append([p.grad.clone() for p in module.parameters()])
    for one, two in zip(*gradients):
        assert one.any()
        torch.testing.assert_close(one, two)


def test_hidden_by_weights(reward, features, images):
    # unlabelled, as labelled_mask has it, although they would be visible
    samples = collated([topdown(POINTS[0], [1, 1, 1]) for _ in range(4)])
    samples[1].gt_instance_labels.keypoint_weights *= 0
    _, mask, _ = reward()(RewardInputs(images, None, features, {}, samples))
    assert mask.tolist() == [True, False, True, True]


def test_all_unlabelled(reward, features, images):
    module = reward()
    samples = collated([topdown(POINTS[0], [0, 0, 0]) for _ in range(4)])
    value, mask, losses = module(RewardInputs(
        images, None, features, {}, samples))
    assert not mask.any() and not value.any()
    assert losses['loss_reward'].item() == 0.
    losses['loss_reward'].backward()
    for p in module.parameters():
        assert p.grad is not None and not p.grad.any()


def test_learns(build, images):
    module = build(dict(
        type='repfusion_mm.KeypointReward', num_keypoints=3, sigma=1.5,
        heatmap_size=HEATMAP, feature_shapes={'a': (6, 8, 6)}))
    points = np.random.default_rng(0).uniform(2, 20, (4, 3, 2))
    samples = collated([topdown(p, [1, 1, 1]) for p in points])
    # what is to be found, mixed
    heatmaps = torch.tensor(np.array(
        [[bell(point, 1.5) for point in p] for p in points]))
    mix = torch.randn(6, 3, dtype=torch.float64)
    feature = torch.einsum('ck,nkhw->nchw', mix, heatmaps).float()
    optimizer = torch.optim.Adam(module.parameters(), 0.02)
    for _ in range(80):
        value, _, losses = module(RewardInputs(
            images, None, {'a': feature}, {}, samples))
        optimizer.zero_grad()
        losses['loss_reward'].backward()
        optimizer.step()
    assert value.min() > -0.1


def bottomup(packing):
    """Two people, as mmpose's bottom-up transforms leave them."""
    keypoints = np.array([POINTS[0], POINTS[1]], np.float32)
    results = dict(
        img=np.zeros((32, 24, 3), np.uint8), img_shape=(32, 24),
        img_path='p.jpg', keypoints=keypoints.copy(),
        keypoints_visible=np.ones((2, 3), np.float32),
        bbox=np.array([[0, 0, 24, 32]] * 2, np.float32))
    affine = BottomupRandomAffine(
        input_size=(48, 64), shift_prob=0, rotate_factor=0,
        scale_factor=(0.8, 0.8))
    for step in (affine, *packing):
        results = step(results)
    assert results['inputs'].shape == (3, 64, 48)
    return results['data_samples'], keypoints


def test_bottomup(reward):
    """The remedy of the error message is one."""
    pack = PackPoseInputs(pack_transformed=True)
    features = {'a': torch.randn(1, 6, 4, 3)}
    images = torch.zeros(1, 3, 64, 48)
    module = reward()
    with pytest.raises(ValueError, match='KeyMapper') as error:
        module(RewardInputs(
            images, None, features, {}, [bottomup([pack])[0]]))
    mapper = dict(mapping=dict(transformed_keypoints='keypoints'),
                  remapping=dict(
                      transformed_keypoints='transformed_keypoints'))
    for key, value in mapper.items():
        (new, old), = value.items()
        assert f"{key}=dict({new}='{old}')" in str(error.value)
    sample, before = bottomup([KeyMapper(**mapper), pack])
    after = sample.gt_instances.transformed_keypoints
    assert np.abs(after - before).max() > 5  # it is another image's pixels
    inside = ((after > 0) & (after < (47, 63))).all(-1)
    assert inside.tolist() == [[True, False, True],
                               [False, False, True]]
    value, mask, _ = module(RewardInputs(
        images, None, features, {}, [sample]))
    errors = []
    for k in (0, 2):
        heatmap = predicted(module, features['a'])[0, k]
        target = np.max([bell(point, size=(48, 64)) for point
                         in after[:, k][inside[:, k]]], axis=0)
        errors.append(((heatmap - target)**2).sum() / (target**2).sum())
    assert mask.all()
    assert -value.item() == pytest.approx(np.mean(errors), rel=1e-4)


def test_errors_of_the_samples(reward, features, images):
    good = [topdown(*person) for person in zip(POINTS[1:], VISIBLE[1:])]
    bad = topdown(POINTS[0], VISIBLE[0], pack_transformed=False)
    with pytest.raises(ValueError, match='pack_transformed=True.*p.jpg'):
        reward()(RewardInputs(
            images, None, features, {}, collated([*good, bad])))
    with pytest.raises(ValueError, match='p.jpg.*3 keypoi.*keypoints` is 5'):
        reward(num_keypoints=5)(RewardInputs(
            images, None, features, {}, collated(good)))


class Images(list):
    """A data set of annotations."""
    metainfo = dict(num_keypoints=3)

    def get_data_info(self, index):
        return self[index]


def info(visible, **fields):
    return dict(keypoints=np.zeros((1, 3, 2)), img_path='p.jpg',
                keypoints_visible=np.array([visible]), **fields)


def test_check_dataset(reward):
    module = reward()
    module.check_dataset(Images([info([0, 0, 0]), info([0, 1, 0])]))
    module.check_dataset([{}])  # cannot be looked at
    # mmpose's CombinedDataset runs its parts' pipelines
    module.check_dataset(Images([dict(data_samples=None)]))
    with pytest.raises(ValueError, match='none of.*has a visible keypoint'):
        module.check_dataset(Images([info([0, 0, 0])] * 3))
    with pytest.raises(ValueError, match='image 0 .p.jpg. .*no `keypoints`'):
        module.check_dataset(Images([dict(img_path='p.jpg')]))
    with pytest.raises(ValueError, match='num_keypoints` is 4.*3 keypoints'):
        reward(num_keypoints=4).check_dataset(Images([info([1, 1, 1])]))


def coco(tmp_path, visible):
    """Config of mmpose's data set of two people."""
    people = [dict(id=i, image_id=0, category_id=1, bbox=[1, 1, 9, 9],
                   area=81, iscrowd=0, keypoints=[4, 5, visible] * 17)
              for i in (1, 2)]
    path = tmp_path / 'people.json'
    path.write_text(json.dumps(dict(
        images=[dict(id=0, file_name='a.jpg', width=20, height=20)],
        annotations=people, categories=[dict(id=1, name='person')])))
    return dict(type=CocoDataset, ann_file=str(path), pipeline=[])


def test_check_dataset_of_mmpose(reward, tmp_path):
    module = reward(num_keypoints=17)
    dataset = DATASETS.build(coco(tmp_path, 2))
    module.check_dataset(dataset)
    module.check_dataset(CombinedDataset(
        dict(from_file='configs/_base_/datasets/coco.py'),
        [coco(tmp_path, 2)]))
    with pytest.raises(ValueError, match='num_keypoints` is 3.*17 keypoints'):
        reward().check_dataset(dataset)
    with pytest.raises(ValueError, match='none of.* visible keypoint'):
        module.check_dataset(DATASETS.build(coco(tmp_path, 0)))


def test_under_autocast(reward, features, images):
    module = reward()
    samples = collated([topdown(*person) for person in zip(POINTS, VISIBLE)])
    wanted = module(RewardInputs(images, None, features, {}, samples))[0]
    with torch.autocast('cpu', dtype=torch.bfloat16):
        value, _, losses = module(RewardInputs(
            images, None,
            {tap: feature.bfloat16() for tap, feature in features.items()}, {},
            samples))
    assert value.dtype == losses['loss_reward'].dtype == torch.float32
    torch.testing.assert_close(value, wanted, rtol=0.03, atol=0.03)


@pytest.mark.parametrize('cfg, match', [
    (dict(num_keypoints=0), '`num_keypoints` is 0.*at least 1'),
    (dict(heatmap_size=(8, 0)), r'`heatmap_size\[1\]` is 0.*at least 1'),
    (dict(heatmap_size=(8, )), r'`heatmap_size` is \(8,\).*2 of them'),
    (dict(sigma=0.2), '`reward.sigma`.*0.5.*got 0.2'),
    (dict(tap='c', feature_shapes={'c': (7, )}), "`reward.tap` is 'c'.*map"),
])
def test_wrong_arguments(reward, cfg, match):
    with pytest.raises(ValueError, match=match):
        reward(**cfg)


def test_in_stage_1(repfusion, build):
    module = build(repfusion(
        data_preprocessor=dict(type='mmpose.PoseDataPreprocessor',
                               mean=[127.5] * 3, std=[127.5] * 3),
        reward=dict(type='repfusion_mm.KeypointReward', num_keypoints=3)))
    module.init_weights()
    samples = collated([topdown(*person) for person in zip(POINTS, VISIBLE)])
    losses = module.loss(torch.rand(4, 3, *INPUT[::-1]), samples)
    assert losses['mean_reward'].item() == pytest.approx(-1)
    losses['loss_reward'].backward()
    assert module.reward.branch[-1].weight.grad.any()
