import math

import pytest
import torch

from repfusion_mm.models.rewards.base import RewardInputs

RANGES, STEPS = 20, 1000


@pytest.fixture
def reward(build):

    def make(width=6, least_seen=0, **cfg):
        module = build(dict(
            type='repfusion_mm.ContrastiveReward', num_timesteps=STEPS,
            feature_shapes={'a': (width, 2, 3), 'b': (5, 4, 4)}, **cfg))
        module.least_seen = least_seen
        return module

    return make


def call(module, first, second, timesteps, tap='a'):
    """The reward of two views whose features are given."""
    images = torch.rand(len(first), 3, 4, 4) * 255
    return module(RewardInputs(
        images, timesteps, {tap: first}, {}, None,
        loss_feature=torch.zeros(()), look=lambda others: {tap: second}))


def views(n, width=6, noise=0.3):
    """Features, (N, C, 2, 3), that know their image."""
    image = torch.randn(n, width, 1, 1)
    return tuple(image + noise * torch.randn(n, width, 2, 3)
                 for _ in range(2))


def by_hand(module, first, second, timesteps, mean, spread):
    """InfoNCE in both directions in float64, by loops."""
    weight = module.projector.weight.detach().double()
    bias = module.projector.bias.detach().double()

    def embed(feature, t):
        vector = feature.double().mean((1, 2))
        k = math.floor(t / (STEPS / RANGES))
        vector = weight @ ((vector - mean[k]) / spread[k]) + bias
        return vector / vector.pow(2).sum().sqrt()

    n = len(first)
    one, two = ([embed(f, t) for f, t in zip(view, timesteps.tolist())]
                for view in (first, second))
    losses = []
    for i in range(n):
        across = [math.exp(one[i] @ two[j] / module.temperature)
                  for j in range(n)]
        down = [math.exp(one[j] @ two[i] / module.temperature)
                for j in range(n)]
        losses.append(-(math.log(across[i] / sum(across)) +
                        math.log(down[i] / sum(down))) / 2)
    return torch.tensor(losses, dtype=torch.float64)


def statistics(*batches):
    """Mean and spread of each range of t, by loops, in float64.

    A true mean at first, later ones count by at least 0.05.
    """
    width = batches[0][0].size(1)
    mean = torch.zeros(RANGES, width, dtype=torch.float64)
    square = torch.ones(RANGES, width, dtype=torch.float64)
    seen = [0] * RANGES
    for first, second, timesteps in batches:
        members = {}
        for view in (first, second):
            for feature, t in zip(view.double().mean((2, 3)),
                                  timesteps.tolist()):
                members.setdefault(t * RANGES // STEPS, []).append(feature)
        for k, found in members.items():
            rate = max(0.05, len(found) / (seen[k] + len(found)))
            found = torch.stack(found)
            mean[k] += rate * (found.mean(0) - mean[k])
            square[k] += rate * (found.pow(2).mean(0) - square[k])
            seen[k] += len(found)
    return mean, (square - mean**2).clamp(min=1e-6).sqrt()


@pytest.mark.parametrize('temperature', [0.1, 0.5])
@pytest.mark.parametrize('tap', ['a', 'b'])
def test_value(reward, temperature, tap):
    module = reward(temperature=temperature, loss_weight=3.,
                    tap=None if tap == 'a' else tap)
    first, second = views(5, dict(a=6, b=5)[tap])
    second = second * 2 - 1  # so that the two directions differ
    t = torch.tensor([10, 20, 49, 50, 999])
    value, mask, losses = call(module, first, second, t, tap)
    wanted = by_hand(module, first, second, t,
                     *statistics((first, second, t)))
    torch.testing.assert_close(value.double(), -wanted, rtol=1e-4, atol=1e-4)
    assert mask.dtype == torch.bool and mask.tolist() == [True] * 5
    assert set(losses) == {'loss_reward'} and not value.requires_grad
    assert losses['loss_reward'].item() == pytest.approx(
        3 * wanted.mean().item(), rel=1e-4)


def test_no_reward_before_there_are_statistics(reward):
    """An image alone in its range would be compared with itself."""
    module = reward(least_seen=8)
    t = torch.tensor([0, 10, 20, 30, 700])
    first, second = views(5)
    value, mask, losses = call(module, first, second, t)
    assert mask.tolist() == [True] * 4 + [False] and value[4] == 0
    wanted = by_hand(module, first, second, t,
                     *statistics((first, second, t)))
    torch.testing.assert_close(value[:4].double(), -wanted[:4], rtol=1e-4,
                               atol=1e-4)
    assert losses['loss_reward'].item() == pytest.approx(
        wanted[:4].mean().item(), rel=1e-3)


def test_statistics_run(reward):
    module = reward()
    batches = [(*views(4), torch.tensor(t)) for t in (
        [0, 49, 50, 700], [10, 20, 720, 749], [999, 950, 60, 30])]
    for batch in batches:
        value, _, _ = call(module, *batch)
    wanted = by_hand(module, *batch, *statistics(*batches))
    torch.testing.assert_close(value.double(), -wanted, rtol=1e-3, atol=1e-3)
    # ranges that nothing was drawn from are as they were
    assert not module.mean[2:14].any() and (module.square[2:14] == 1).all()


def test_statistics_rest_in_eval(reward):
    module = reward()
    first, second = views(4)
    t = torch.tensor([0, 300, 310, 999])
    call(module, first, second, t)
    before = {key: value.clone() for key, value in
              module.state_dict().items()}
    module.eval()
    others = tuple(3 * view + 1 for view in views(4))
    value, _, _ = call(module, *others, t)
    for key, buffer in module.state_dict().items():
        assert torch.equal(buffer, before[key]), key
    wanted = by_hand(module, *others, t, *statistics((first, second, t)))
    torch.testing.assert_close(value.double(), -wanted, rtol=1e-4, atol=1e-4)


def test_statistics_are_saved(reward):
    module, other = reward(), reward()
    first, second = views(4)
    t = torch.tensor([0, 300, 310, 999])
    call(module, first, second, t)
    other.load_state_dict(module.state_dict())
    one, two = (call(m.eval(), first, second, t)[0] for m in (module, other))
    assert torch.equal(one, two)


def test_second_view_is_what_is_looked_at(reward):
    module, seen = reward(), []
    first, second = views(4)

    def look(images):
        seen.append(images)
        return {'a': second}

    images = torch.rand(4, 3, 8, 8) * 255
    torch.manual_seed(2)
    module(RewardInputs(
        images, torch.tensor([0, 1, 2, 3]), {'a': first}, {}, None, look=look))
    torch.manual_seed(2)
    assert len(seen) == 1
    assert torch.equal(seen[0], module.second_view(images))


def test_whole_image_up_to_mirroring(reward):
    module = reward(min_crop=1)
    images = torch.rand(32, 3, 7, 10) * 255
    view = module.second_view(images)
    kept, mirrored = ((view - wanted).abs().amax((1, 2, 3)) < 0.05
                      for wanted in (images, images.flip(3)))
    assert (kept ^ mirrored).all()
    assert 4 < kept.sum() < 28  # a fair coin leaves this once in 60,000


def test_crop(reward):
    """Each view of a ramp is a ramp: the part shown is read off it."""
    side, least = 40, 0.5
    module = reward(min_crop=least)
    # coordinates of the pixels' centres, on a scale of the image's sides
    centre = (torch.arange(side) + 0.5) / side
    images = torch.zeros(64, 3, side, side)
    images[:, 0], images[:, 1] = centre, centre[:, None]
    view = module.second_view(images)
    assert view.shape == images.shape and view.dtype == images.dtype
    # resizing a ramp and mirroring it is exact, but for the outermost pixels
    inner = slice(2, -2)
    across, down = view[:, 0, inner, inner], view[:, 1, inner, inner]
    assert (across - across[:, :1]).abs().max() < 1e-5
    assert (down - down[:, :, :1]).abs().max() < 1e-5
    steps = across[:, 0].diff(dim=1), down[:, :, 0].diff(dim=1)
    for step in steps:
        assert (step - step[:, :1]).abs().max() < 1e-5
    # the share of each side that is shown, and where it begins
    width, height = (step.mean(1) * side for step in steps)
    assert torch.allclose(width.abs(), height, atol=1e-4)
    assert least - 1e-4 < height.min() < 0.6 and 0.9 < height.max() <= 1.001
    for size, values in ((width.abs(), across.mean((1, 2))),
                         (height, down.mean((1, 2)))):
        begin, end = values - size / 2, values + size / 2
        assert begin.min() > -1e-4 and end.max() < 1 + 1e-4
        assert begin.max() > 0.2 and end.min() < 0.8  # all over the image
    assert 16 < (width > 0).sum() < 48
    # and each image has a crop of its own
    assert len(set(height.tolist())) == 64


def test_view_stays_in_range(reward):
    images = (torch.rand(64, 3, 9, 6) > 0.5) * 255.
    view = reward(min_crop=0.3).second_view(images)
    assert view.min() >= 0 and view.max() <= 255.001


def test_gradients(reward):
    module = reward()
    first, second = (view.requires_grad_() for view in views(4))
    images = torch.rand(4, 3, 4, 4, requires_grad=True)
    with torch.no_grad():  # a frozen teacher
        features = {'a': first * 1}
    _, _, losses = module(RewardInputs(
        images, torch.tensor([0, 5, 500, 999]), features, {}, None,
        look=lambda others: {'a': second.detach()}))
    losses['loss_reward'].backward()
    assert first.grad is None and second.grad is None and images.grad is None
    for p in module.parameters():
        assert p.grad.isfinite().all() and p.grad.abs().sum() > 0
    assert {name for name, _ in module.named_parameters()} == {
        'projector.weight', 'projector.bias'}


def test_gradient(reward):
    """One entry of the weight, by central differences of the loops."""
    module = reward(temperature=0.5)
    first, second = views(4)
    t = torch.tensor([0, 5, 500, 999])
    _, _, losses = call(module, first, second, t)
    losses['loss_reward'].backward()
    settled, ends = statistics((first, second, t)), []
    weight = module.projector.weight
    for step in (1e-2, -1e-2):
        with torch.no_grad():
            weight[3, 2] += step
        ends.append(by_hand(module, first, second, t, *settled).mean())
        with torch.no_grad():
            weight[3, 2] -= step
    assert weight.grad[3, 2].item() == pytest.approx(
        ((ends[0] - ends[1]) / 2e-2).item(), rel=0.02, abs=1e-5)


def test_needs_no_labels(reward, samples):
    module = reward()
    assert not module.reads_labels
    module.check_dataset([dict(gt_label=-1)])  # is content with none
    first, second = views(4)
    t = torch.tensor([0, 5, 500, 999])
    wanted = call(module, first, second, t)[0]
    module.eval()
    for data_samples in (None, samples([-1] * 4), samples([0, 1, 2, 3])):
        got, mask, _ = module(RewardInputs(
            torch.rand(4, 3, 4, 4), t, {'a': first}, {}, data_samples,
            look=lambda others: {'a': second}))
        assert mask.all() and torch.equal(got, wanted)


def test_single_image(reward):
    with pytest.raises(ValueError, match='`train_dataloader.batch_size` must '
                       'be at least 2'):
        call(reward(), *views(1), torch.tensor([3]))


def test_under_autocast(reward):
    plain, low = reward(), reward()
    low.load_state_dict(plain.state_dict())
    # the mean is large beside the spread, as of features behind a norm
    first, second = (view / 10 + 10 for view in views(8))
    t = torch.arange(8)
    wanted, _, _ = call(plain, first, second, t)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        value, _, losses = call(low, first, second, t)
    losses['loss_reward'].backward()
    assert value.dtype == losses['loss_reward'].dtype == torch.float32
    assert low.projector.weight.grad.dtype == torch.float32
    torch.testing.assert_close(value, wanted)
    torch.testing.assert_close(low.square, plain.square)


def settle(module, draw, steps=100, train=True):
    """The mean reward at the end of a training."""
    optimizer = torch.optim.Adam(module.parameters(), 0.03)
    last = []
    for step in range(steps):
        value, _, losses = call(module, *draw())
        if train:
            optimizer.zero_grad()
            losses['loss_reward'].backward()
            optimizer.step()
        if step >= steps - 20:
            last.append(value.mean())
    return torch.stack(last).mean().item()


def test_learns(reward):
    # what an image is lies in the small half of the channels
    module = reward(12, embed_dim=8)

    def draw():
        image = torch.randn(16, 12, 1, 1)
        image[:, 6:] = 0
        loud = torch.tensor([0.1] * 6 + [1.] * 6).view(12, 1, 1)
        first, second = (image + 3 * loud * torch.randn(16, 12, 2, 3)
                         for _ in range(2))
        return first, second, torch.randint(STEPS, (16, ))

    torch.manual_seed(1)
    before = settle(module, draw, 30, train=False)
    after = settle(module, draw)
    assert before < -1.2 and after > -0.4


def test_noise_is_worth_nothing(reward):
    module = reward()

    def draw():
        first, second = torch.randn(2, 16, 6, 2, 3)
        return first, second, torch.randint(STEPS, (16, ))

    got = settle(module, draw)
    # on fresh noise nothing beats a guess among 16
    assert -math.log(16) - 0.5 < got < -math.log(16) + 0.1


@pytest.mark.parametrize('standardised', [True, False])
def test_t_alone_does_not_pay(reward, standardised):
    """Features that know their t, but not their image."""
    module = reward()
    # of each range of t, where it is and how wide
    offset = 5 * torch.randn(RANGES, 6)
    width = 0.2 + 2 * torch.rand(RANGES, 6)

    def draw():
        t = torch.randint(STEPS, (16, ))
        k = t // (STEPS // RANGES)
        noise = torch.randn(2, 16, 6) * width[k]
        first, second = (offset[k] + noise)[..., None, None].expand(
            -1, -1, -1, 2, 3)
        return first, second, t

    if standardised:
        settle(module, draw, 20, train=False)
    else:
        module._update = lambda features, ranges: None
    got = settle(module, draw)
    if standardised:
        assert got < -math.log(16) + 0.1
    else:
        assert got > -math.log(16) + 1  # or this test tests nothing


@pytest.mark.parametrize('cfg, match', [
    (dict(temperature=0), '`temperature` is 0, .*above 0'),
    (dict(temperature=-1.), '`temperature` is -1.0'),
    (dict(min_crop=0), '`reward.min_crop`.*up to 1, got 0'),
    (dict(min_crop=1.1), '`reward.min_crop`.*got 1.1')])
def test_wrong_arguments(reward, cfg, match):
    with pytest.raises(ValueError, match=match):
        reward(**cfg)


@pytest.mark.parametrize('steps', [7, 1000])
def test_every_t_has_statistics(reward, steps):
    module = reward()
    module.num_timesteps = steps
    value, _, _ = call(module, *views(steps), torch.arange(steps))
    assert value.isfinite().all()
    wanted = len({t * RANGES // steps for t in range(steps)})
    assert (module.seen > 0).sum() == wanted


def test_inside_repfusion(build, repfusion, samples):
    """The whole of stage 1, without a label."""
    module = build(repfusion(
        reward=dict(type='repfusion_mm.ContrastiveReward')))
    module.init_weights()
    seen = []
    module.teacher.register_forward_hook(
        lambda m, args, output: seen.append(args))
    losses = module(torch.rand(4, 3, 16, 16) * 2 - 1, samples([-1] * 4),
                    mode='loss')
    assert {'loss_reward', 'loss_policy', 'loss_entropy'} < set(losses)
    assert all(loss.isfinite() for loss in losses.values())
    # the other views at the very time steps that are to be judged
    assert len(seen) == 2 and torch.equal(seen[0][1], seen[1][1])
    assert not torch.equal(seen[0][0], seen[1][0])
    # once its ranges of t are known it learns
    module.reward.seen += module.reward.least_seen
    losses = module(torch.rand(4, 3, 16, 16) * 2 - 1, samples([-1] * 4),
                    mode='loss')
    losses['loss_reward'].backward()
    assert module.reward.projector.weight.grad.abs().sum() > 0
