import mmcv
import numpy as np
import pytest
import torch
from mmseg.datasets import BaseSegDataset
from mmseg.datasets.transforms import LoadAnnotations, PackSegInputs
from mmseg.models import SegDataPreProcessor

from repfusion_mm.models.rewards.base import RewardInputs

SIZE = (9, 14)


@pytest.fixture
def reward(build):

    def make(**cfg):
        return build(dict(
            dict(type='repfusion_mm.SegmentationReward', num_classes=3,
                 feature_shapes={'a': (6, 4, 5), 'b': (5, 2, 2)}), **cfg))

    return make


@pytest.fixture
def features():
    return {'a': torch.randn(4, 6, 4, 5), 'b': torch.randn(4, 5, 2, 2)}


@pytest.fixture
def masks():
    """Three classes, some pixels unlabelled; the third image entirely."""
    masks = np.random.default_rng(0).integers(0, 3, (4, *SIZE))
    masks[0, :5] = masks[1, :, 3:6] = masks[2] = 255
    return masks.astype(np.uint8)


@pytest.fixture
def batch(tmp_path):
    """What mmseg makes of some masks on the disk."""

    def pack(masks):
        load, pack_inputs = LoadAnnotations(), PackSegInputs()
        samples, inputs = [], []
        for index, mask in enumerate(masks):
            path = str(tmp_path / f'{index}.png')
            mmcv.imwrite(mask, path)
            packed = pack_inputs(load(dict(
                img=np.zeros((*mask.shape, 3), np.uint8), seg_map_path=path,
                seg_fields=[], reduce_zero_label=False)))
            inputs.append(packed['inputs'])
            samples.append(packed['data_samples'])
        module = SegDataPreProcessor(size_divisor=1)
        return module(dict(inputs=inputs, data_samples=samples),
                      training=True)['data_samples']

    return pack


def enlarged(grid, height, width):
    """Bilinear, pixel by pixel, borders aligned."""
    rows, columns = grid.shape

    def corners(i, side, cells):
        at = max((i + 0.5) * cells / side - 0.5, 0)
        low = min(int(at), cells - 1)
        return low, min(low + 1, cells - 1), at - low

    out = np.zeros((height, width))
    for i in range(height):
        up, down, v = corners(i, height, rows)
        for j in range(width):
            left, right, u = corners(j, width, columns)
            out[i, j] = (
                (1 - v) * ((1 - u) * grid[up, left] + u * grid[up, right]) +
                v * ((1 - u) * grid[down, left] + u * grid[down, right]))
    return out


def by_hand(module, feature, masks):
    """Mean cross-entropy of each image's labelled pixels, in float64."""
    weight = module.classifier.weight.detach().double().numpy()[:, :, 0, 0]
    bias = module.classifier.bias.detach().double().numpy()
    values = []
    for x, mask in zip(feature.double().numpy(), masks):
        logits = [enlarged(np.tensordot(w, x, 1) + b, *mask.shape)
                  for w, b in zip(weight, bias)]
        pixels = []
        for i, j in np.ndindex(*mask.shape):
            if mask[i, j] != 255:
                here = np.array([logit[i, j] for logit in logits])
                pixels.append(np.log(np.exp(here).sum()) - here[mask[i, j]])
        values.append(np.mean(pixels) if pixels else 0)
    return np.array(values)


@pytest.mark.parametrize('tap', [None, 'b'])
def test_value(reward, features, batch, masks, tap):
    module = reward(tap=tap, loss_weight=3.)
    value, mask, losses = module(RewardInputs(
        None, None, features, {}, batch(masks)))
    wanted = by_hand(module, features[tap or 'a'], masks)
    assert mask.dtype == torch.bool
    assert mask.tolist() == [True, True, False, True]
    assert value.shape == (4, ) and not value.requires_grad
    np.testing.assert_allclose(-value.numpy(), wanted, rtol=1e-5)
    assert losses['loss_reward'].item() == pytest.approx(
        3 * wanted.sum() / 3, rel=1e-5)


def test_unlabelled_teach_nothing(reward, features, batch, masks):
    module = reward()
    gradients = []
    for value in (0., 1e3):
        features['a'][2] = value
        module.zero_grad()
        losses = module(RewardInputs(
            None, None, features, {}, batch(masks)))[2]
        losses['loss_reward'].backward()
        gradients.append([p.grad.clone() for p in module.parameters()])
    for one, two in zip(*gradients):
        assert one.any()
        torch.testing.assert_close(one, two)


def test_gradient(reward, features, batch, masks):
    module, samples = reward(), batch(masks)
    losses = module(RewardInputs(None, None, features, {}, samples))[2]
    losses['loss_reward'].backward()
    weight = module.classifier.weight
    for index in ((0, 1), (2, 5)):
        losses = []
        for step in (1e-3, -1e-3):
            with torch.no_grad():
                weight[index] += step
                losses.append(by_hand(module, features['a'], masks).sum() / 3)
                weight[index] -= step
        assert weight.grad[index].item() == pytest.approx(
            (losses[0] - losses[1]) / 2e-3, rel=1e-2, abs=1e-5)


def test_all_unlabelled(reward, features, batch):
    module = reward()
    samples = batch(np.full((4, *SIZE), 255, np.uint8))
    value, mask, losses = module(RewardInputs(
        None, None, features, {}, samples))
    assert not mask.any() and not value.any()
    assert losses['loss_reward'].item() == 0.
    losses['loss_reward'].backward()
    for p in module.parameters():
        assert p.grad is not None and not p.grad.any()


def test_learns(reward, batch):
    module = reward(tap='b')
    grid = torch.tensor([[0, 1], [2, 0]]).expand(4, 2, 2)
    feature = torch.eye(5)[grid].permute(0, 3, 1, 2)
    samples = batch(grid.repeat_interleave(6, 1).repeat_interleave(6, 2)
                    .numpy().astype(np.uint8))
    optimizer = torch.optim.Adam(module.parameters(), 0.5)
    for _ in range(60):
        value, _, losses = module(RewardInputs(
            None, None, {'b': feature}, {}, samples))
        optimizer.zero_grad()
        losses['loss_reward'].backward()
        optimizer.step()
    # all but sure, up to the borders that are interpolated across
    assert value.min() > -0.25


def test_ignore_index(reward, features, batch, masks):
    # what mmseg pads smaller masks with is as unlabelled as what they hold
    small = [masks[0], masks[1], masks[3][:6, :7], masks[3]]
    module = reward()
    value, mask, _ = module(RewardInputs(
        None, None, features, {}, batch(small)))
    padded = np.full(SIZE, 255)
    padded[:6, :7] = small[2]
    wanted = by_hand(module, features['a'], [*small[:2], padded, small[3]])
    np.testing.assert_allclose(-value.numpy(), wanted, rtol=1e-5)
    assert mask.all()

    # another value, here a class of its own that does not count
    other = np.where(masks == 255, 2, masks).astype(np.uint8)
    module = reward(ignore_index=2)
    value, mask, _ = module(RewardInputs(
        None, None, features, {}, batch(other)))
    wanted = by_hand(module, features['a'], np.where(other == 2, 255, other))
    np.testing.assert_allclose(-value.numpy(), wanted, rtol=1e-5)
    assert mask.tolist() == [True, True, False, True]


def test_errors_of_the_masks(reward, features, batch, masks):
    masks[1, 2, 2] = 18
    with pytest.raises(ValueError, match='1.png.* 18.*num_classes` is 3'):
        reward()(RewardInputs(None, None, features, {}, batch(masks)))
    samples = batch(masks)
    del samples[0].gt_sem_seg
    with pytest.raises(ValueError, match='LoadAnnotations.*PackSegInputs'):
        reward()(RewardInputs(None, None, features, {}, samples))


class Images(list):
    """A data set of annotations."""
    metainfo = dict(classes=('skin', 'hair', 'hat'))

    def get_data_info(self, index):
        raise AssertionError('no mask need be opened')


def test_check_dataset(reward):
    reward().check_dataset(Images([{}]))
    reward(num_classes=4).check_dataset(Images([{}]))
    reward().check_dataset([{}])  # cannot be looked at
    with pytest.raises(ValueError, match='num_classes` is 2.*3 classes'):
        reward(num_classes=2).check_dataset(Images([{}]))


def test_check_dataset_of_mmseg(reward):
    reward().check_dataset(BaseSegDataset(lazy_init=True))  # of no classes
    reward().check_dataset(BaseSegDataset(
        metainfo=dict(classes=tuple('abc')), lazy_init=True))
    with pytest.raises(ValueError, match='num_classes` is 3.*4 classes'):
        reward().check_dataset(BaseSegDataset(
            metainfo=dict(classes=tuple('abcd')), lazy_init=True))


def test_under_autocast(reward, features, batch, masks):
    module, samples = reward(), batch(masks)
    wanted = module(RewardInputs(None, None, features, {}, samples))[0]
    with torch.autocast('cpu', dtype=torch.bfloat16):
        value, _, losses = module(RewardInputs(
            None, None,
            {tap: feature.bfloat16() for tap, feature in features.items()}, {},
            samples))
    assert value.dtype == losses['loss_reward'].dtype == torch.float32
    torch.testing.assert_close(value, wanted, rtol=0.02, atol=0.02)


def test_wrong_arguments(reward):
    with pytest.raises(ValueError, match='`reward.num_classes`.*2.*got 1'):
        reward(num_classes=1)
    with pytest.raises(ValueError, match=r"`reward.tap` is 'c'.*\(7,\).*map"):
        reward(tap='c', feature_shapes={'c': (7, )})


def test_in_stage_1(repfusion, build, batch, masks):
    module = build(repfusion(
        data_preprocessor=dict(type='mmseg.SegDataPreProcessor', size=(16, 16),
                               mean=[127.5] * 3, std=[127.5] * 3),
        reward=dict(type='repfusion_mm.SegmentationReward', num_classes=3)))
    module.init_weights()
    losses = module.loss(torch.rand(4, 3, *SIZE), batch(masks))
    assert losses['mean_reward'].item() == pytest.approx(
        -losses['loss_reward'].item())
    losses['loss_reward'].backward()
    assert module.reward.classifier.weight.grad.any()
