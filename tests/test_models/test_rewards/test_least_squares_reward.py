import numpy as np
import pytest
import torch

from repfusion_mm.models.rewards.base import RewardInputs

CLASSES = 3


@pytest.fixture
def reward(build):

    def make(channels=6, **cfg):
        shapes = {'a': (channels, 2, 3), 'b': (5, 4, 4)}
        return build(dict(
            type='repfusion_mm.LeastSquaresReward', num_classes=CLASSES,
            feature_shapes=shapes, **cfg))

    return make


def batch(count, channels, offset=0.):
    """A map, and labels that it tells something of."""
    labels = torch.arange(count) % CLASSES
    feature = torch.randn(count, channels, 2, 3) + offset
    feature[:, 0] += labels[:, None, None]
    return feature, labels


def fit(x, y, weight):
    """Ridge regression with a free intercept, by its normal equations."""
    design = np.c_[x, np.ones(len(x))]
    penalty = weight * np.diag([1.] * x.shape[1] + [0.])
    return np.linalg.solve(design.T @ design + penalty, design.T @ y)


def by_hand(feature, labels, ridge, leave_one_out):
    """Every image predicted by a fit of its own, in float64."""
    x = feature.double().mean((2, 3)).numpy()
    y = np.eye(CLASSES)[labels]
    # ridge * ||w||^2 + mean squared error, features of mean squared norm 1
    norm = ((x - x.mean(0))**2).sum(1).mean()
    weight = ridge * len(x) * norm
    rewards = []
    for i in range(len(x)):
        others = np.arange(len(x)) != i if leave_one_out else slice(None)
        solution = fit(x[others], y[others], weight)
        rewards.append(-((y[i] - np.r_[x[i], 1.] @ solution)**2).sum())
    return torch.tensor(rewards)


@pytest.mark.parametrize('leave_one_out', [True, False])
@pytest.mark.parametrize('count, channels', [(8, 20), (20, 6), (6, 6), (3, 6)])
def test_refitting(reward, samples, count, channels, leave_one_out):
    feature, labels = batch(count, channels)
    for ridge in (3e-3, 0.3):
        module = reward(channels, ridge=ridge, leave_one_out=leave_one_out)
        value, mask, losses = module(RewardInputs(
            None, None, {'a': feature}, {}, samples(labels)))
        wanted = by_hand(feature, labels, ridge, leave_one_out)
        assert value.dtype == torch.float32 and value.shape == (count, )
        torch.testing.assert_close(value.double(), wanted, rtol=1e-4,
                                   atol=1e-6)
        assert mask.dtype == torch.bool and mask.all()
        assert losses == {}


def test_default_keeps_the_image_out(reward, samples):
    # fewer images than channels: anything can be fitted, not predicted
    feature, labels = batch(9, 50)
    feature = torch.randn_like(feature)
    batch_ = [RewardInputs(None, None, {'a': feature}, {}, samples(labels))]
    published = reward(50, ridge=1e-6, leave_one_out=False)(*batch_)[0]
    assert published.min() > -1e-3
    assert reward(50)(*batch_)[0].max() < -0.1


@pytest.mark.parametrize('channels', [4, 20])
@pytest.mark.parametrize('leave_one_out', [True, False])
def test_unlabelled(reward, samples, channels, leave_one_out):
    feature, labels = batch(12, channels)
    labels[[0, 4, 7]] = -1
    feature[4] = 1e4
    module = reward(channels, leave_one_out=leave_one_out)
    value, mask, _ = module(RewardInputs(
        None, None, {'a': feature}, {}, samples(labels)))
    assert torch.equal(mask, labels >= 0)
    assert not value[~mask].any()
    alone, _, _ = module(RewardInputs(
        None, None, {'a': feature[mask]}, {}, samples(labels[mask])))
    torch.testing.assert_close(value[mask], alone)


@pytest.mark.parametrize('leave_one_out, fewest', [(True, 3), (False, 2)])
def test_too_few_labelled(reward, samples, leave_one_out, fewest):
    module = reward(leave_one_out=leave_one_out)
    feature, _ = batch(5, 6)
    for count in range(5):
        labels = [0, 1, 2, 0][:count] + [-1] * (5 - count)
        value, mask, losses = module(RewardInputs(
            None, None, {'a': feature}, {}, samples(labels)))
        assert mask.sum() == (count if count >= fewest else 0)
        assert value.isfinite().all() and not value[~mask].any()
        assert losses == {}


@pytest.mark.parametrize('leave_one_out', [True, False])
def test_features_that_tell_nothing(reward, samples, leave_one_out):
    labels = torch.tensor([0, 0, 1, 2])
    value, _, _ = reward(leave_one_out=leave_one_out)(RewardInputs(
        None, None, {'a': torch.ones(4, 6, 2, 3)}, {}, samples(labels)))
    wanted = []
    for i in range(4):  # what is predicted is the share of each class
        others = [k for k in range(4) if k != i or not leave_one_out]
        share = torch.eye(CLASSES)[labels[others]].mean(0)
        wanted.append(-(torch.eye(CLASSES)[labels[i]] - share).square().sum())
    torch.testing.assert_close(value, torch.stack(wanted))


@pytest.mark.parametrize('count, channels', [(9, 6), (5, 6)])
def test_units(reward, samples, count, channels):
    module = reward(channels)
    feature, labels = batch(count, channels)
    value, _, _ = module(RewardInputs(
        None, None, {'a': feature}, {}, samples(labels)))
    for other in (feature * 1000, feature * 1e-3 + 5):
        torch.testing.assert_close(
            module(RewardInputs(
                None, None, {'a': other}, {}, samples(labels)))[0], value,
            rtol=1e-2, atol=1e-3)
    # as many images again are no other fit
    twice = reward(channels, leave_one_out=False)
    once, _, _ = twice(RewardInputs(
        None, None, {'a': feature}, {}, samples(labels)))
    again, _, _ = twice(RewardInputs(
        None, None, {'a': feature.repeat(2, 1, 1, 1)}, {},
        samples(labels.repeat(2))))
    torch.testing.assert_close(again[:count], once)


def test_better_features_are_worth_more(reward, samples):
    feature, labels = batch(15, 6)
    means = []
    for clarity in (0., 1., 4.):
        clear = feature.clone()
        for k in range(CLASSES):
            clear[labels == k, k] += clarity
        means.append(
            reward()(RewardInputs(
                None, None, {'a': clear}, {}, samples(labels)))[0].mean())
    assert means[0] < means[1] < means[2] < 0


def test_tap(reward, samples):
    _, labels = batch(9, 6)
    features = {'a': torch.randn(9, 6, 2, 3), 'b': torch.randn(9, 5, 4, 4)}
    value, _, _ = reward(tap='b', ridge=0.1)(RewardInputs(
        None, None, features, {}, samples(labels)))
    torch.testing.assert_close(
        value.double(), by_hand(features['b'], labels, 0.1, True))


def test_vectors(reward, samples):
    feature, labels = batch(9, 6)
    value, _, _ = reward()(RewardInputs(
        None, None, {'a': feature.mean((2, 3))}, {}, samples(labels)))
    wanted, _, _ = reward()(RewardInputs(
        None, None, {'a': feature}, {}, samples(labels)))
    torch.testing.assert_close(value, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('count', [4, 12])
def test_under_autocast(reward, samples, count):
    feature, labels = batch(count, 6)
    feature = feature.bfloat16()
    wanted, _, _ = reward()(RewardInputs(
        None, None, {'a': feature.float()}, {}, samples(labels)))
    with torch.autocast('cpu', dtype=torch.bfloat16):
        value, _, _ = reward()(RewardInputs(
            None, None, {'a': feature}, {}, samples(labels)))
    assert torch.equal(value, wanted)


def test_no_gradient_and_nothing_to_train(reward, samples):
    module = reward()
    assert not list(module.parameters()) and not module.state_dict()
    feature, labels = batch(6, 6)
    value, mask, _ = module(RewardInputs(
        None, None, {'a': feature.requires_grad_()}, {}, samples(labels),
        loss_feature=torch.zeros(())))
    assert not value.requires_grad and not mask.requires_grad


def test_labels_that_it_cannot_read(reward, samples):
    feature, _ = batch(3, 6)
    with pytest.raises(ValueError, match='`gt_label` is 3.*num_classes` is 3'):
        reward()(RewardInputs(
            None, None, {'a': feature}, {}, samples([0, 3, 1])))

    class Images(list):

        def get_data_info(self, index):
            return self[index]

    module = reward()
    module.check_dataset(Images([dict(gt_label=2)]))
    for label, error in ((3, 'image 0 .*label 3'),
                         (-1, 'LeastSquaresReward.*none of')):
        with pytest.raises(ValueError, match=error):
            module.check_dataset(Images([dict(gt_label=label)]))


def test_wrong_arguments(build):
    cfg = dict(type='repfusion_mm.LeastSquaresReward',
               feature_shapes={'a': (6, 2, 3)})
    with pytest.raises(ValueError, match='`reward.num_classes`.*1'):
        build(dict(num_classes=1, **cfg))
    for ridge in (0, -1.):
        with pytest.raises(ValueError, match=f'`ridge` is {ridge}, '):
            build(dict(num_classes=3, ridge=ridge, **cfg))
