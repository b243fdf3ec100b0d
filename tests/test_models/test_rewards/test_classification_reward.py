import pytest
import torch
import torch.nn.functional as F


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


@pytest.fixture
def ranked(samples):
    """Data samples that know which image of their class they are."""

    def make(labels, ranks):
        batch = samples(labels)
        for sample, rank in zip(batch, ranks):
            sample.set_metainfo(dict(label_rank=rank))
        return batch

    return make


def by_hand(module, feature, labels, fold=0):
    """Cross-entropy of each sample in float64."""
    x = feature.double().mean((2, 3))
    classifier = module.classifiers[fold]
    first, last = classifier[0], classifier[-1]
    x = F.relu(F.linear(x, first.weight.double(), first.bias.double()))
    x = F.linear(x, last.weight.double(), last.bias.double())
    return F.cross_entropy(x, labels, reduction='none')


@pytest.mark.parametrize('tap', [None, 'b'])
def test_value(reward, features, samples, tap):
    module = reward(tap=tap)
    labels = torch.tensor([0, 3, 2, 2])
    value, mask, losses = module(None, features, samples(labels), {})
    wanted = by_hand(module, features[tap or 'a'], labels)
    torch.testing.assert_close(value.double(), -wanted.detach())
    assert mask.tolist() == [True] * 4
    assert value.shape == (4, ) and not value.requires_grad
    assert losses['loss_reward'].item() == pytest.approx(wanted.mean().item())


def test_unlabelled(reward, features, samples):
    module = reward(loss_weight=3.)
    labels = torch.tensor([1, -1, 2, -1])
    value, mask, losses = module(None, features, samples(labels), {})
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
    _, mask, losses = module(None, features, samples([-1] * 4), {})
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
        value, _, losses = module(None, {'a': feature}, samples(labels), {})
        optimizer.zero_grad()
        losses['loss_reward'].backward()
        optimizer.step()
    assert value.min() > -0.1  # certain of every label


def test_folds(reward, features, ranked):
    module = reward(folds=2)
    labels = torch.tensor([1, 2, 2, -1])
    value, mask, losses = module(
        None, features, ranked(labels, [0, 1, 4, 0]), {})
    assert mask.tolist() == [True, True, True, False]
    # images 0 and 2 are of fold 0, image 1 is of fold 1
    first, second = (by_hand(module, features['a'][:3], labels[:3], fold)
                     for fold in (0, 1))
    wanted = -torch.stack([first[0], second[1], first[2]]).detach()
    torch.testing.assert_close(value[:3].double(), wanted)
    # and each fold's classifier learns from the others alone
    wanted = (first[1] + second[0] + second[2]) / 3
    assert losses['loss_reward'].item() == pytest.approx(wanted.item())


def test_folds_never_see_their_images(reward, features, ranked):
    module = reward(folds=3)
    losses = module(None, features, ranked([0, 1, 2, 3], [1] * 4), {})[2]
    losses['loss_reward'].backward()
    touched = [any(p.grad.any() for p in classifier.parameters())
               for classifier in module.classifiers]
    assert touched == [True, False, True]


@pytest.mark.parametrize('folds', [1, 2])
def test_what_is_known_by_heart(reward, ranked, folds):
    # labels that have nothing to do with the features
    module = reward(folds=folds)
    labels, ranks = torch.arange(4).repeat(4), torch.arange(16) // 4
    features = {'a': torch.randn(16, 6, 1, 1)}
    batch = ranked(labels, ranks.tolist())
    optimizer = torch.optim.Adam(module.parameters(), 0.03)
    for _ in range(300):
        value, _, losses = module(None, features, batch, {})
        optimizer.zero_grad()
        losses['loss_reward'].backward()
        optimizer.step()
    chance = -torch.tensor(4.).log()
    if folds == 1:
        assert value.mean() > -0.3
    else:
        assert value.mean() < chance


def test_folds_of_nothing_labelled(reward, features, samples):
    module = reward(folds=2)
    value, mask, losses = module(None, features, samples([-1] * 4), {})
    assert not mask.any() and not value.any()
    losses['loss_reward'].backward()
    for p in module.parameters():
        assert p.grad is not None and not p.grad.any()


def test_folds_without_ranks(reward, features, samples):
    with pytest.raises(ValueError, match='FewLabels.*label_rank'):
        reward(folds=2)(None, features, samples([0, -1, 2, 3]), {})


class Images(list):
    """A data set of annotations."""

    def get_data_info(self, index):
        return self[index]


def test_check_dataset(reward):
    unlabelled = dict(gt_label=-1)
    few = [dict(gt_label=c, label_rank=r) for c in range(3) for r in range(2)]
    reward(folds=1).check_dataset(Images([unlabelled, dict(gt_label=2)]))
    reward(folds=2).check_dataset(Images([unlabelled, *few]))
    reward(folds=2).check_dataset(object())  # cannot be looked at
    for folds in (1, 2):
        with pytest.raises(ValueError, match='none of.*has a label'):
            reward(folds=folds).check_dataset(Images([unlabelled] * 3))
    with pytest.raises(ValueError, match='`reward.folds` is 3, but class 0 '
                       'has only 2'):
        reward(folds=3).check_dataset(Images(few))
    with pytest.raises(ValueError, match='FewLabels'):
        reward(folds=2).check_dataset(Images([dict(gt_label=1)] * 5))


def test_under_autocast(reward, features, samples):
    module = reward()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        value, _, losses = module(None, features, samples([0, 1, 2, 3]), {})
    assert value.dtype == losses['loss_reward'].dtype == torch.float32


def test_layers(build):
    module = build(dict(
        type='repfusion_mm.ClassificationReward', num_classes=10,
        feature_shapes={'a': (256, 4, 4)}))
    classifier, = module.classifiers
    widths = [m.weight.shape for m in classifier
              if isinstance(m, torch.nn.Linear)]
    assert widths == [(256, 256), (256, 256), (10, 256)]


def test_wrong_arguments(build):
    with pytest.raises(ValueError, match='`reward.folds`.*0'):
        build(dict(type='repfusion_mm.ClassificationReward', num_classes=2,
                   folds=0, feature_shapes={'a': (6, 2, 3)}))
    with pytest.raises(ValueError, match='`reward.num_classes`.*1'):
        build(dict(type='repfusion_mm.ClassificationReward', num_classes=1,
                   feature_shapes={'a': (6, 2, 3)}))
