import pytest
import torch
import torch.nn.functional as F
from torch import nn

from repfusion_mm.models.rewards.base import RewardInputs

CLASSES = 3
SHAPES = {'map': (6, 2, 3), 'vector': (5, )}


@pytest.fixture
def reward(build):

    def make(**cfg):
        return build(dict(
            type='repfusion_mm.StudentProgressReward', num_classes=CLASSES,
            student_shapes=SHAPES, **cfg))

    return make


@pytest.fixture
def student():
    """Features of a student, with the graph behind them."""
    weight = torch.randn(4, requires_grad=True)
    features = {tap: torch.randn(4, *shape) * weight.view(
        -1, *[1] * len(shape)) for tap, shape in SHAPES.items()}
    return weight, features


def feature_loss(feature):
    """Of the whole batch, with terms between its images as well."""
    flat = feature.flatten(1)
    target = torch.linspace(-1, 1, flat.numel()).view_as(flat).sin()
    between = (flat @ flat.T).tanh().mean()
    return (flat - target).square().mean() + 0.1 * between


def entropy(module, feature, label):
    """Cross-entropy of one image in float64."""
    pooled = feature.flatten(1).mean(1) if feature.dim() > 1 else feature
    logits = F.linear(pooled, module.classifier.weight.double(),
                      module.classifier.bias.double())
    return F.cross_entropy(logits, torch.tensor(label))


@pytest.mark.parametrize('tap', ['map', 'vector'])
def test_finite_differences(reward, student, samples, tap):
    module, (_, features) = reward(student_tap=tap), student
    labels = [0, 2, 1, 1]
    value, mask, _ = module(RewardInputs(
        None, None, {}, features, samples(labels),
        loss_feature=feature_loss(features[tap])))
    assert value.dtype == torch.float32 and value.shape == (4, )
    assert mask.dtype == torch.bool and mask.all()

    s = features[tap].detach().double()
    eps = 1e-5
    for i in range(4):
        # the step that the feature loss asks of this image, of length 1
        step = torch.zeros_like(s[i]).view(-1)
        for k in range(len(step)):
            change = torch.zeros_like(s).view(4, -1)
            change[i, k] = eps
            change = change.view_as(s)
            step[k] = feature_loss(s - change) - feature_loss(s + change)
        step = (step / step.norm()).view_as(s[i])
        gain = (entropy(module, s[i] - eps * step, labels[i])
                - entropy(module, s[i] + eps * step, labels[i])) / (2 * eps)
        # against the most that any step of length 1 gains
        slopes = []
        for k in range(s[i].numel()):
            change = torch.zeros(s[i].numel()).double()
            change[k] = eps
            change = change.view_as(s[i])
            slopes.append((entropy(module, s[i] + change, labels[i])
                           - entropy(module, s[i] - change, labels[i]))
                          / (2 * eps))
        wanted = gain / torch.stack(slopes).norm()
        torch.testing.assert_close(value[i].double(), wanted.detach(),
                                   rtol=1e-4, atol=1e-4)
        assert 0.001 < abs(value[i]) < 1


def test_best_and_worst_step(reward, samples):
    module = reward()
    s = torch.randn(4, *SHAPES['map'], requires_grad=True)
    labels = torch.tensor([0, 2, 1, 0])
    task = F.cross_entropy(
        F.linear(s.mean((2, 3)), module.classifier.weight.detach(),
                 module.classifier.bias.detach()), labels, reduction='none')
    sign = torch.tensor([1., -1., 1., 0.])
    for scale in (1., 1e-6, 1e4):
        value, mask, _ = module(RewardInputs(
            None, None, {}, {'map': s}, samples(labels),
            loss_feature=scale * (sign * task).sum()))
        torch.testing.assert_close(value, sign)
        assert mask.all()


def test_own_loss(reward, student, samples):
    module, (weight, features) = reward(), student
    loss_feature = feature_loss(features['map'])
    _, _, losses = module(RewardInputs(
        None, None, {}, features, samples([0, -1, 2, 1]),
        loss_feature=loss_feature))
    assert list(losses) == ['loss_reward']
    s = features['map'].detach().double()
    wanted = sum(entropy(module, s[i], label)
                 for i, label in ((0, 0), (2, 2), (3, 1))) / 3
    assert losses['loss_reward'].item() == pytest.approx(wanted.item())
    # the reward has left no gradient anywhere
    assert weight.grad is None
    assert all(p.grad is None for p in module.parameters())

    losses['loss_reward'].backward()
    assert weight.grad is None  # nothing reaches the student
    got = [p.grad.clone() for p in module.parameters()]
    module.zero_grad()
    wanted.backward()
    for gradient, p in zip(got, module.parameters()):
        torch.testing.assert_close(gradient, p.grad)
    loss_feature.backward()  # its graph is still there
    assert weight.grad.abs().sum() > 0


def test_reward_is_detached(reward, student, samples):
    value, mask, _ = reward()(RewardInputs(
        None, None, {}, student[1], samples([0, 1, 2, 0]),
        loss_feature=feature_loss(student[1]['map'])))
    assert not value.requires_grad and not mask.requires_grad


def test_unlabelled(reward, student, samples):
    module, (_, features) = reward(), student
    loss_feature = feature_loss(features['map'])
    every, _, _ = module(RewardInputs(
        None, None, {}, features, samples([1, 2, 2, 0]),
        loss_feature=loss_feature))
    value, mask, _ = module(RewardInputs(
        None, None, {}, features, samples([1, -1, 2, -1]),
        loss_feature=loss_feature))
    assert mask.tolist() == [True, False, True, False]
    assert torch.equal(value, every * mask)


def test_all_unlabelled(reward, student, samples):
    module, (_, features) = reward(), student
    value, mask, losses = module(RewardInputs(
        None, None, {}, features, samples([-1] * 4),
        loss_feature=feature_loss(features['map'])))
    assert not mask.any() and not value.any()
    assert losses['loss_reward'] == 0
    losses['loss_reward'].backward()
    for p in module.parameters():
        assert p.grad is not None and not p.grad.any()


def test_without_gradients(reward, student, samples):
    module, (_, features) = reward().eval(), student
    labels = samples([0, 1, 2, 0])
    with torch.no_grad():
        features = {tap: f.detach() for tap, f in features.items()}
        value, mask, losses = module(RewardInputs(
            None, None, {}, features, labels,
            loss_feature=feature_loss(features['map'])))
    assert value.tolist() == [0] * 4 and mask.tolist() == [False] * 4
    assert losses['loss_reward'] > 0
    # a frozen student under a projector that learns
    projector = torch.ones((), requires_grad=True)
    _, mask, _ = module(RewardInputs(
        None, None, {}, features, labels,
        loss_feature=feature_loss(features['map'] * projector)))
    assert not mask.any()
    # under no_grad a feature may still remember that it had a graph
    with torch.no_grad():
        _, mask, _ = module(RewardInputs(
            None, None, {}, student[1], labels,
            loss_feature=feature_loss(student[1]['map'])))
    assert not mask.any()


def test_learns(reward, samples):
    module, labels = reward(), torch.arange(3).repeat(4)
    feature = torch.randn(3, *SHAPES['map'])[labels].requires_grad_()
    optimizer = torch.optim.Adam(module.parameters(), 0.1)
    for _ in range(60):
        _, _, losses = module(RewardInputs(
            None, None, {}, {'map': feature}, samples(labels),
            loss_feature=feature.sum()))
        optimizer.zero_grad()
        losses['loss_reward'].backward()
        optimizer.step()
    assert losses['loss_reward'] < 0.2
    assert feature.grad is None


def test_under_autocast(reward, samples):
    module, labels = reward(), samples([0, 2, 1, 1])
    layer = nn.Conv2d(3, 6, 1)
    x = torch.randn(4, 3, 2, 3)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        s = layer(x)
        assert s.dtype == torch.bfloat16
        value, _, losses = module(RewardInputs(
            None, None, {}, {'map': s}, labels,
            loss_feature=feature_loss(s.float())))
    assert value.dtype == losses['loss_reward'].dtype == torch.float32
    s = s.detach().float().requires_grad_()
    wanted, _, exact = module(RewardInputs(
        None, None, {}, {'map': s}, labels, loss_feature=feature_loss(s)))
    # what bfloat16 rounds is the gradient that comes back, nothing else
    torch.testing.assert_close(value, wanted, rtol=0.02, atol=0.005)
    torch.testing.assert_close(losses, exact)
    loss_feature = feature_loss(s)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        value, _, _ = module(RewardInputs(
            None, None, {}, {'map': s}, labels, loss_feature=loss_feature))
    torch.testing.assert_close(value, wanted)


def test_gradients_too_small_for_float16(reward, samples):
    module, labels = reward(), samples([0, 2, 1, 1])
    full = torch.randn(4, *SHAPES['map'], requires_grad=True)
    half = full.detach().half().requires_grad_()
    # as a mean over ten million elements would be
    value, wanted = (
        module(RewardInputs(
            None, None, {}, {'map': s}, labels,
            loss_feature=feature_loss(s.float()) * 1e-6))[0]
        for s in (half, full))
    assert wanted.abs().min() > 0.01
    torch.testing.assert_close(value, wanted, rtol=0.05, atol=0.01)


def test_overflow_is_no_reward(reward, samples):
    s = torch.randn(4, *SHAPES['map']).half().requires_grad_()
    scale = torch.tensor([1., 1e6, 1., 1.]).view(-1, 1, 1, 1)
    value, mask, _ = reward()(RewardInputs(
        None, None, {}, {'map': s}, samples([0, 1, 2, 0]),
        loss_feature=(s.float() * scale).sum()))
    assert mask.tolist() == [True, False, True, True]
    assert value.isfinite().all()


def test_labels_that_it_cannot_read(reward, student, samples):
    features = student[1]
    with pytest.raises(ValueError, match='`gt_label` is 3.*num_classes` is 3'):
        reward()(RewardInputs(
            None, None, {}, features, samples([0, 3, 1, 1]),
            loss_feature=feature_loss(features['map'])))

    class Images(list):

        def get_data_info(self, index):
            return self[index]

    module = reward()
    module.check_dataset(Images([dict(gt_label=2)]))
    for label, error in ((3, 'image 0 .*label 3'),
                         (-1, 'StudentProgressReward.*none of')):
        with pytest.raises(ValueError, match=error):
            module.check_dataset(Images([dict(gt_label=label)]))


def test_wrong_arguments(reward):
    with pytest.raises(ValueError, match="`reward.student_tap` is 'maps'.*"
                                         "nearest: 'map'"):
        reward(student_tap='maps')
    with pytest.raises(ValueError, match='`reward.num_classes`.*1'):
        reward().__class__(1, SHAPES)


def test_in_a_model(build, repfusion, images, samples):
    # not asked for by name: the model hands over what the reward needs
    model = build(repfusion(reward=dict(
        type='repfusion_mm.StudentProgressReward', num_classes=10)))
    model.init_weights()
    model.train()
    losses = model((images - 127.5) / 127.5, samples([3, -1, 0, 9]),
                   mode='loss')
    assert losses['loss_reward'] > 0
    assert -1 < losses['mean_reward'] < 1 and losses['mean_reward'] != 0
    sum(v for k, v in losses.items() if 'loss' in k).backward()
    for p in [*model.reward.parameters(), *model.backbone.parameters()]:
        assert p.grad is not None


@pytest.fixture
def compiled(build, repfusion, images, samples):
    """A model whose student is compiled, its reward, and its gradients."""

    def run(compile):
        torch.manual_seed(0)
        model = build(repfusion(
            compile=compile,
            reward=dict(type='repfusion_mm.StudentProgressReward',
                        num_classes=10, student_tap='layer2'),
            connections=[
                dict(student_tap=tap, teacher_tap='mid_block.resnets.1',
                     loss=dict(type='repfusion_mm.HintLoss', pool=True))
                for tap in ('layer2', 'layer4')]))
        model.init_weights()
        # once without the reward, as an earlier run does for torch's cache
        model.train().backbone(images)[-1].sum().backward()
        for seed in range(2):
            torch.manual_seed(seed)
            losses = model((images - 127.5) / 127.5,
                           samples([3, -1, 0, 9]), mode='loss')
            model.zero_grad()
            sum(v for k, v in losses.items() if 'loss' in k).backward()
        return losses, {name: p.grad for name, p
                        in model.backbone.named_parameters()}

    return run


def test_compiled_between_taps(compiled):
    """Two backward passes through the pieces behind the tap."""
    wanted, gradients = compiled(False)
    losses, got = compiled(dict(backend='aot_eager'))
    assert wanted['mean_reward'] != 0
    torch.testing.assert_close(losses, wanted, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(got, gradients, rtol=1e-3, atol=1e-5)
