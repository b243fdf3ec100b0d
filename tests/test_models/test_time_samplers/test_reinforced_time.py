import itertools

import pytest
import torch

from repfusion_mm.analysis.look import Look
from repfusion_mm.models.time_samplers import TimeSample

ALL = torch.ones(64, dtype=torch.bool)


@pytest.fixture
def sampler(build):
    return lambda **cfg: build(dict(type='repfusion_mm.ReinforcedTime', **cfg))


@pytest.fixture
def constant(sampler):
    """A sampler with one distribution, of random scores."""

    def make(actions=3, **cfg):
        module = sampler(num_timesteps=actions, **cfg, policy=dict(
            type='repfusion_mm.ConstantPolicy'))
        torch.nn.init.normal_(module.policy.scores)
        return module

    return make


def advantages(module, reward, mask):
    """What multiplies each log-probability, times the number of samples."""
    log_prob = torch.zeros(len(reward), requires_grad=True)
    sample = TimeSample(None, log_prob, torch.zeros(len(reward)))
    module.loss(sample, reward, mask)['loss_policy'].backward()
    return -log_prob.grad * mask.sum().clamp(min=1)


@pytest.mark.parametrize('bins', [None, 4, 12])
def test_log_prob_and_entropy(sampler, bins):
    module = sampler(num_timesteps=12, num_bins=bins, policy=dict(
        type='repfusion_mm.LeNetPolicy', image_size=16))
    images = torch.rand(32, 3, 16, 16) * 255
    sample = module(images)
    assert sample.timesteps.dtype == torch.long
    probs = torch.softmax(module.policy(images).double(), 1)
    assert probs.shape == (32, bins or 12)
    chosen = sample.timesteps // (12 // (bins or 12))
    wanted = probs.gather(1, chosen[:, None])[:, 0].log()
    torch.testing.assert_close(sample.log_prob, wanted.float())
    wanted = -(probs * probs.log()).sum(1)
    torch.testing.assert_close(sample.entropy, wanted.float())
    assert sample.log_prob.requires_grad and sample.entropy.requires_grad


def test_every_t(sampler):
    module = sampler(num_timesteps=12, num_bins=4, policy=dict(
        type='repfusion_mm.ConstantPolicy'))
    with torch.no_grad():
        module.policy.scores[1] = 1.
    sample = module(torch.zeros(6000, 3, 1, 1))
    shares = torch.bincount(sample.timesteps, minlength=12) / 6000
    assert len(shares) == 12
    wanted = torch.softmax(torch.tensor([0., 1, 0, 0]), 0)
    wanted = wanted.repeat_interleave(3) / 3
    assert (shares - wanted).abs().max() < 0.02
    assert module.max_timestep == 11


@pytest.mark.parametrize('bins', [2, 10, 100, 1000])
def test_draws_are_categorical(sampler, bins):
    """Those of torch's own distribution, number for number."""
    module = sampler(num_bins=bins, policy=dict(
        type='repfusion_mm.LeNetPolicy', image_size=16))
    images = torch.rand(40, 3, 16, 16) * 255
    for seed in range(5):
        torch.manual_seed(seed)
        drawn = module(images)
        torch.manual_seed(seed)
        wanted = module.distribution(images).sample()
        width = 1000 // bins
        within = torch.randint_like(wanted, width)
        assert torch.equal(drawn.timesteps, wanted * width + within)


def test_distribution_of_the_draws(constant):
    """Chi-square of 20,000 draws, at a thousandth."""
    stats = pytest.importorskip('scipy.stats')
    module = constant(8)
    counts = torch.bincount(module(torch.zeros(20000, 3, 1, 1)).timesteps,
                            minlength=8)
    wanted = torch.softmax(module.policy.scores.detach().double(), 0) * 20000
    assert stats.chisquare(counts.numpy(), wanted.numpy()).pvalue > 1e-3


def test_never_drawn(constant):
    module = constant(4)
    with torch.no_grad():
        module.policy.scores[2] = -torch.inf
    assert not (module(torch.zeros(5000, 3, 1, 1)).timesteps == 2).any()


def test_no_wait_for_a_gpu(constant, images, monkeypatch):
    """What torch 2.1 draws with reads a value from the GPU first."""
    monkeypatch.setattr(torch, 'multinomial', None)
    assert constant()(images).timesteps.shape == (4, )


def test_defaults(sampler):
    module = sampler()
    assert module.max_timestep == 999
    assert module.policy.scores.out_features == 1000
    assert module.entropy_weight == 0.1


def test_without_baseline(constant):
    module = constant(baseline='none')
    reward = torch.tensor([1., -2., 5.])
    got = advantages(module, reward, ALL[:3])
    torch.testing.assert_close(got, reward)


def test_leave_one_out(constant):
    reward = torch.randn(5)
    got = advantages(constant(), reward, ALL[:5])
    wanted = [reward[i] - (reward[:i].sum() + reward[i + 1:].sum()) / 4
              for i in range(5)]
    torch.testing.assert_close(got, torch.stack(wanted))


def test_masked_out(constant):
    module = constant()
    mask = torch.tensor([True, False, True, True, False])
    reward = torch.randn(5)
    got = advantages(module, reward, mask)
    assert not got[~mask].any()
    torch.testing.assert_close(
        got[mask], advantages(module, reward[mask], ALL[:3]))
    other = torch.where(mask, reward, 1e4)
    torch.testing.assert_close(advantages(module, other, mask), got,
                               rtol=1e-4, atol=1e-4)


def test_loss_is_a_mean_over_labelled(constant):
    module = constant(baseline='none', entropy_weight=0.)
    mask = torch.tensor([True, False, True, False])
    sample = TimeSample(None, torch.tensor([-1., -2., -3., -4.]),
                        torch.ones(4))
    losses = module.loss(sample, torch.tensor([1., 7., 2., 7.]), mask)
    assert losses['loss_policy'].item() == pytest.approx((1 + 6) / 2)


@pytest.mark.parametrize('baseline', ['leave_one_out', 'none'])
def test_nothing_labelled(constant, images, baseline):
    module = constant(baseline=baseline)
    losses = module.loss(module(images), torch.randn(4), ~ALL[:4])
    assert losses['loss_policy'].item() == 0.
    sum(losses.values()).backward()
    assert module.policy.scores.grad.isfinite().all()


def test_one_labelled(constant, images):
    module = constant()
    mask = torch.tensor([False, True, False, False])
    losses = module.loss(module(images), torch.randn(4), mask)
    losses['loss_policy'].backward()
    assert losses['loss_policy'].item() == 0.
    assert not module.policy.scores.grad.any()


def test_reward_gets_no_gradient(constant, images):
    module = constant()
    reward = torch.randn(4, requires_grad=True)
    module.loss(module(images), reward, ALL[:4])['loss_policy'].backward()
    assert reward.grad is None


def test_score_function_gradient(constant, images):
    module = constant(7, baseline='none')
    sample, reward = module(images), torch.randn(4)
    module.loss(sample, reward, ALL[:4])['loss_policy'].backward()
    # of log softmax: the action's indicator minus the probabilities
    probs = torch.softmax(module.policy.scores.detach(), 0)
    scores = torch.eye(7)[sample.timesteps] - probs
    wanted = -(reward[:, None] * scores).mean(0)
    torch.testing.assert_close(module.policy.scores.grad, wanted)


def test_entropy_gradient(constant, images):
    module = constant(5, entropy_weight=0.3)
    loss = module.loss(module(images), torch.zeros(4), ALL[:4])
    loss['loss_entropy'].backward()
    probs = torch.softmax(module.policy.scores.detach().double(), 0)
    entropy = -(probs * probs.log()).sum()
    assert loss['loss_entropy'].item() == pytest.approx(-0.3 * entropy.item())
    wanted = 0.3 * probs * (probs.log() + entropy)
    torch.testing.assert_close(module.policy.scores.grad.double(), wanted)


def moments(module, rewards):
    """Mean and total variance of the gradient over all joint actions.

    In float64, for one distribution and the reward of each image's actions.
    """
    theta = torch.tensor([0.3, -0.8, 0.5], dtype=torch.float64)
    probs = torch.softmax(theta, 0)
    gradients, weights = [], []
    for actions in itertools.product(range(3), repeat=len(rewards)):
        leaf = theta.clone().requires_grad_()
        log_prob = torch.log_softmax(leaf, 0)[list(actions)]
        sample = TimeSample(torch.tensor(actions), log_prob, log_prob * 0)
        reward = torch.stack([r[a] for r, a in zip(rewards, actions)])
        loss = module.loss(sample, reward, ALL[:len(rewards)])['loss_policy']
        gradients.append(torch.autograd.grad(-loss, leaf)[0])
        weights.append(probs[list(actions)].prod())
    gradients, weights = torch.stack(gradients), torch.stack(weights)[:, None]
    mean = (weights * gradients).sum(0)
    return mean, (weights * (gradients - mean)**2).sum(), theta


@pytest.mark.parametrize('baseline', ['leave_one_out', 'none'])
def test_unbiased(constant, baseline):
    rewards = torch.randn(2, 3, dtype=torch.float64) + 4
    mean, _, theta = moments(constant(baseline=baseline), rewards)
    theta.requires_grad_()
    expected = (rewards * torch.softmax(theta, 0)).sum(1).mean()
    wanted, = torch.autograd.grad(expected, theta)
    torch.testing.assert_close(mean, wanted, rtol=1e-10, atol=1e-12)


def test_variance(constant):
    rewards = torch.randn(2, 3, dtype=torch.float64) + 4  # a common offset
    ours, plain = (moments(constant(baseline=baseline), rewards)[1]
                   for baseline in ('leave_one_out', 'none'))
    assert ours < 0.5 * plain


@pytest.mark.parametrize('policy', ['LeNetPolicy', 'ConstantPolicy'])
def test_learns_the_best_t(sampler, policy):
    # bright images are worth most at t = 200, dark ones at t = 800
    size = dict(image_size=16) if policy == 'LeNetPolicy' else {}
    # curious enough not to settle beside the best bin, whatever the seed
    module = sampler(num_bins=20, entropy_weight=0.1, policy=dict(
        type=f'repfusion_mm.{policy}', **size))
    optimizer = torch.optim.Adam(module.parameters(), 3e-3)

    def draw(n):
        bright = torch.rand(n) < 0.5
        level = torch.where(bright, 200., 60.).view(n, 1, 1, 1)
        return level + 20 * torch.randn(n, 3, 16, 16), bright

    for _ in range(250):
        images, bright = draw(64)
        sample = module(images)
        best = torch.where(bright, 200, 800)
        reward = -(sample.timesteps - best).abs() / 300
        loss = sum(module.loss(sample, reward, ALL).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    images, bright = draw(1000)
    drawn = module(images).timesteps.float()
    means = drawn[bright].mean().item(), drawn[~bright].mean().item()
    if policy == 'LeNetPolicy':
        assert means[0] == pytest.approx(200, abs=60)
        assert means[1] == pytest.approx(800, abs=60)
    else:
        assert abs(means[0] - means[1]) < 60


def test_float32_under_autocast(sampler, images):
    module = sampler(num_timesteps=10, policy=dict(
        type='repfusion_mm.LeNetPolicy', image_size=16))
    with torch.autocast('cpu', dtype=torch.bfloat16):
        sample = module(images)
    assert sample.log_prob.dtype == sample.entropy.dtype == torch.float32


@pytest.mark.parametrize('cfg, match', [
    (dict(num_timesteps=10, num_bins=3), '`time_sampler.num_bins`.*3 and 10'),
    (dict(num_timesteps=0), '`num_timesteps` is 0'),
    (dict(num_timesteps=10, num_bins=20), '`time_sampler.num_bins`'),
    (dict(baseline='mean'), '`time_sampler.baseline`.*leave_one_out')])
def test_wrong_arguments(sampler, cfg, match):
    with pytest.raises(ValueError, match=match):
        sampler(**cfg)


@pytest.mark.parametrize('cfg, key', [
    (dict(num_bins=0), 'num_bins'), (dict(num_bins=-10), 'num_bins'),
    (dict(entropy_weight=-0.1), 'entropy_weight')])
def test_no_such_number(build, cfg, key):
    with pytest.raises(ValueError, match=f'`{key}` is .*at least'):
        build(dict(type='repfusion_mm.ReinforcedTime', **cfg))


def test_own_baseline_of_each_image(constant):
    module = constant(num_draws=3)
    rewards, mask = torch.randn(3, 5), torch.tensor([True] * 4 + [False])
    log_probs = torch.zeros(3, 5, requires_grad=True)
    first = TimeSample(None, None, torch.ones(9))
    losses = module.loss_of_draws(first, log_probs, rewards, mask)
    losses['loss_policy'].backward()
    for draw in range(3):
        others = [rewards[k] for k in range(3) if k != draw]
        wanted = (rewards[draw] - sum(others) / 2) * mask
        # a mean over the draws and the 4 images
        torch.testing.assert_close(-log_probs.grad[draw] * 12, wanted)
    assert losses['loss_entropy'].item() == pytest.approx(-0.1)


def test_own_baseline_is_unbiased(constant):
    """Over all pairs of draws, the gradient of the expected reward."""
    module, reward = constant(num_draws=2), torch.tensor([1., -2., 4.])
    log_prob = module.policy.scores.log_softmax(0)
    probability = log_prob.exp()
    exact, = torch.autograd.grad(-(probability * reward).sum(),
                                 module.policy.scores, retain_graph=True)
    found = 0
    for pair in itertools.product(range(3), repeat=2):
        loss = module.loss_of_draws(
            TimeSample(None, None, torch.zeros(1)),
            log_prob[list(pair), None], reward[list(pair), None],
            ALL[:1])['loss_policy']
        found = found + loss * probability[list(pair)].prod().detach()
    found, = torch.autograd.grad(found, module.policy.scores)
    torch.testing.assert_close(found, exact)


@pytest.mark.parametrize('options, message', [
    (dict(num_draws=0), '`num_draws` is 0, .*at least 1'),
    (dict(num_draws=2, baseline='none'), "num_draws` is 2.*'none'"),
    (dict(look=dict(shares=0.1)), "`time_sampler.look` has 'shares'.*share"),
    (dict(look=dict(share=0.)), '`time_sampler.look.share`.*got 0.0'),
    (dict(look=dict(temperature=0.)), 'look.temperature`.*above 0, got 0.0'),
    (dict(look=dict(reward='label')), "look.reward` is 'label'.*'labels'")])
def test_options_refused(sampler, options, message):
    with pytest.raises(ValueError, match=message):
        sampler(**options)


def test_entropy_relative_to_what_was_found(constant, images):
    module = constant(7, look=True)
    found = torch.randn(7).log_softmax(0)
    module.found.copy_(found)
    log_prob = module.policy.scores.log_softmax(0)
    divergence = (log_prob.exp() * (log_prob - found)).sum()
    torch.testing.assert_close(module(images).entropy,
                               -divergence.expand(4))


@pytest.mark.parametrize('temperature', [1., 0.3])
def test_starts_from_the_look(constant, temperature):
    rewards = torch.randn(30, 1, 4, generator=torch.Generator().manual_seed(0)
                          ).double() + torch.tensor([0., 0.3, 0.1, 0.2])
    look = Look([0, 1, 2, 3], rewards, None,
                torch.zeros(30, 1, 3, 8, 8, dtype=torch.uint8), 'labels')
    module = constant(4, look=dict(temperature=temperature))
    module.learn_from(look)
    believed = look.believed
    wanted = (believed.mean / (temperature * believed.std_error)).log_softmax(
        0).float()
    torch.testing.assert_close(module.found, wanted)
    assert believed.likeness == 0  # no image differs from the others
    torch.testing.assert_close(module.policy.scores.softmax(0), wanted.exp(),
                               atol=0.01, rtol=0.)
