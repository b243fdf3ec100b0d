import pytest
import torch
import torch.nn.functional as F

from repfusion_mm.models.rewards.base import RewardInputs


@pytest.fixture
def reward(build):

    def make(**cfg):
        cfg = dict(num_classes=4, hidden=(8, ), **cfg)
        return build(dict(
            type='repfusion_mm.ClassificationReward',
            feature_shapes={'a': (6, 2, 3), 'b': (5, 4, 4)}, **cfg))

    return make


@pytest.fixture
def features():
    return {'a': torch.randn(4, 6, 2, 3), 'b': torch.randn(4, 5, 4, 4)}


def by_hand(module, feature, labels):
    """Cross-entropy of each sample in float64."""
    x = feature.double().mean((2, 3))
    first, last = module.classifier[0], module.classifier[-1]
    x = F.relu(F.linear(x, first.weight.double(), first.bias.double()))
    x = F.linear(x, last.weight.double(), last.bias.double())
    return F.cross_entropy(x, labels, reduction='none')


@pytest.mark.parametrize('tap', [None, 'b'])
def test_value(reward, features, samples, tap):
    module = reward(tap=tap)
    labels = torch.tensor([0, 3, 2, 2])
    value, mask, losses = module(RewardInputs(
        None, None, features, {}, samples(labels)))
    wanted = by_hand(module, features[tap or 'a'], labels)
    torch.testing.assert_close(value.double(), -wanted.detach())
    assert mask.tolist() == [True] * 4
    assert value.shape == (4, ) and not value.requires_grad
    assert losses['loss_reward'].item() == pytest.approx(wanted.mean().item())


def test_vectors(reward, features, samples):
    module, labels = reward(), samples([0, 3, 2, 2])
    vector = features['a'].mean((2, 3))
    torch.testing.assert_close(
        module(RewardInputs(None, None, {'a': vector}, {}, labels))[0],
        module(RewardInputs(None, None, features, {}, labels))[0])


def test_unlabelled(reward, features, samples):
    module = reward(loss_weight=3.)
    labels = torch.tensor([1, -1, 2, -1])
    value, mask, losses = module(RewardInputs(
        None, None, features, {}, samples(labels)))
    assert mask.tolist() == [True, False, True, False]
    seen = labels >= 0
    wanted = by_hand(module, features['a'][seen], labels[seen])
    torch.testing.assert_close(value[seen].double(), -wanted.detach())
    assert losses['loss_reward'].item() == pytest.approx(
        3 * wanted.mean().item())

    losses['loss_reward'].backward()
    got = [p.grad.clone() for p in module.parameters()]
    module.zero_grad()
    (3 * wanted.mean()).backward()
    for gradient, p in zip(got, module.parameters()):
        torch.testing.assert_close(gradient, p.grad)


def test_all_unlabelled(reward, features, samples):
    module = reward()
    _, mask, losses = module(RewardInputs(
        None, None, features, {}, samples([-1] * 4)))
    assert not mask.any()
    assert losses['loss_reward'].item() == 0.
    losses['loss_reward'].backward()
    for p in module.parameters():
        assert p.grad is not None and not p.grad.any()


def test_learns(reward, samples):
    module = reward()
    labels = torch.arange(4).repeat(4)
    feature = torch.randn(4, 6, 1, 1)[labels].expand(-1, -1, 2, 3)
    optimizer = torch.optim.Adam(module.parameters(), 0.05)
    for _ in range(60):
        value, _, losses = module(RewardInputs(
            None, None, {'a': feature}, {}, samples(labels)))
        optimizer.zero_grad()
        losses['loss_reward'].backward()
        optimizer.step()
    assert value.min() > -0.1  # certain of every label


def multi_hot_by_hand(module, feature, labels):
    """Mean binary cross-entropy over the classes, one by one, in float64."""
    rows = []
    for x, names in zip(feature.double().mean((2, 3)), labels):
        first, last = module.classifier[0], module.classifier[-1]
        x = F.relu(F.linear(x, first.weight.double(), first.bias.double()))
        x = F.linear(x, last.weight.double(), last.bias.double())
        rows.append(-sum(
            F.logsigmoid(logit if k in names else -logit)
            for k, logit in enumerate(x)) / len(x))
    return torch.stack(rows)


def test_multi_label(reward, features, samples):
    module = reward(multi_label=True, loss_weight=2.)
    labels = [[0, 3], [], -1, [2]]
    value, mask, losses = module(RewardInputs(
        None, None, features, {}, samples(labels)))
    assert mask.tolist() == [True, True, False, True]
    assert value.dtype == torch.float32 and not value.requires_grad
    wanted = multi_hot_by_hand(module, features['a'][mask],
                               [[0, 3], [], [2]])
    torch.testing.assert_close(value[mask].double(), -wanted.detach())
    assert value[2] == 0
    assert losses['loss_reward'].item() == pytest.approx(
        2 * wanted.mean().item())

    losses['loss_reward'].backward()
    got = [p.grad.clone() for p in module.parameters()]
    module.zero_grad()
    (2 * wanted.mean()).backward()
    for gradient, p in zip(got, module.parameters()):
        torch.testing.assert_close(gradient, p.grad)


def test_multi_label_all_unlabelled(reward, features, samples):
    module = reward(multi_label=True)
    _, mask, losses = module(RewardInputs(
        None, None, features, {}, samples([-1] * 4)))
    assert not mask.any() and losses['loss_reward'] == 0
    losses['loss_reward'].backward()
    for p in module.parameters():
        assert p.grad is not None and not p.grad.any()


@pytest.mark.parametrize('multi_label', [False, True])
def test_no_class(reward, features, samples, multi_label):
    module = reward(multi_label=multi_label)
    with pytest.raises(ValueError, match='`gt_label` is 4.*num_classes` is 4'):
        module(RewardInputs(
            None, None, features, {}, samples([0, 4, -1, 1])))


class Images(list):
    """A data set of annotations."""

    def get_data_info(self, index):
        return self[index]


def test_check_dataset(reward):
    unlabelled = dict(gt_label=-1)
    reward().check_dataset(Images([unlabelled, dict(gt_label=2)]))
    reward().check_dataset(object())  # cannot be looked at
    for images in ([unlabelled] * 3, [{}]):
        with pytest.raises(ValueError,
                           match='ClassificationReward.*none of.*has a label'):
            reward().check_dataset(Images(images))


def test_check_dataset_of_multi_label(reward):
    module = reward(multi_label=True)
    module.check_dataset(Images([dict(gt_label=[-1]), dict(gt_label=[0, 3])]))
    with pytest.raises(ValueError, match=r'image 1 .*\[1, 4\].*labels from'):
        module.check_dataset(Images([dict(gt_label=2),
                                     dict(gt_label=[1, 4])]))


def test_under_autocast(reward, features, samples):
    module = reward()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        value, _, losses = module(RewardInputs(
            None, None, features, {}, samples([0, 1, 2, 3])))
    assert value.dtype == losses['loss_reward'].dtype == torch.float32


def test_layers(build):
    module = build(dict(
        type='repfusion_mm.ClassificationReward', num_classes=10,
        feature_shapes={'a': (256, 4, 4)}))
    widths = [m.weight.shape for m in module.classifier
              if isinstance(m, torch.nn.Linear)]
    assert widths == [(256, 256), (256, 256), (10, 256)]


def test_linear(build, features, samples):
    module = build(dict(
        type='repfusion_mm.ClassificationReward', num_classes=4, hidden=(),
        feature_shapes={'a': (6, 2, 3)}))
    layer, = module.classifier
    labels = torch.tensor([0, 3, 2, 2])
    wanted = F.cross_entropy(
        F.linear(features['a'].mean((2, 3)).double(), layer.weight.double(),
                 layer.bias.double()), labels, reduction='none')
    value, _, _ = module(RewardInputs(
        None, None, features, {}, samples(labels)))
    torch.testing.assert_close(value.double(), -wanted.detach())


def test_wrong_arguments(build):
    cfg = dict(type='repfusion_mm.ClassificationReward',
               feature_shapes={'a': (6, 2, 3)})
    with pytest.raises(ValueError, match='`reward.num_classes`.*2.*1'):
        build(dict(num_classes=1, **cfg))
    build(dict(num_classes=1, multi_label=True, **cfg))
    with pytest.raises(ValueError, match='`reward.num_classes`.*1.*0'):
        build(dict(num_classes=0, multi_label=True, **cfg))
