import pytest
import torch

from repfusion_mm.datasets import Digits
from repfusion_mm.models.time_samplers import ConstantPolicy, LeNetPolicy
from repfusion_mm.models.time_samplers.fit_policy import fit_policy
from repfusion_mm.models.time_samplers.looked_values import smoothed


def images(count=6, views=2):
    return (torch.rand(count, views, 3, 16, 16) * 255).to(torch.uint8)


@pytest.mark.parametrize('policy', [ConstantPolicy, LeNetPolicy])
def test_finds_the_best_action(policy):
    policy, values = policy(20), torch.zeros(6, 20).double()
    values[:, 7] = 1.
    values[:, 13] = 0.5
    fit_policy(policy, images(), values, torch.tensor(0.05).double())
    probability = policy(images()[:, 0].float()).softmax(1)  # other images
    assert (probability.argmax(1) == 7).all()
    assert probability[:, 7].min() > 0.9


def test_temperature():
    policy = ConstantPolicy(5)
    values = torch.tensor([[0., 0.1, 0.2, 0.3, 0.2]]).double()
    fit_policy(policy, images(1), values, torch.tensor(0.2).double())
    wanted = (values[0] / 0.2).softmax(0).float()
    assert torch.allclose(policy.scores.softmax(0), wanted, atol=0.02)


def test_nothing_known():
    policy = ConstantPolicy(5)
    fit_policy(policy, images(3), torch.zeros(3, 5).double(),
               torch.tensor(0.).double())
    assert torch.allclose(policy.scores.softmax(0), torch.full((5, ), 0.2))


def test_images_differ():
    shown = images(8)
    shown[:4] //= 4  # dark ones
    values = torch.zeros(8, 4).double()
    values[:4, 0] = values[4:, 3] = 1.
    policy = LeNetPolicy(4)
    fit_policy(policy, shown, values, torch.tensor(0.1).double())
    chosen = policy(shown[:, 1].float()).argmax(1)
    assert chosen.tolist() == [0] * 4 + [3] * 4


def test_sharp_values():
    # far apart in units of the temperature: no collapse to any one action
    values = -(torch.linspace(0, 1, 20) - 0.3)[None].double().square()
    policy = LeNetPolicy(20)
    fit_policy(policy, images(1), values, torch.tensor(0.001).double())
    probability = policy(images(1)[:, 0].float()).softmax(1)
    wanted = (values / 0.001).softmax(1).float()
    assert torch.allclose(probability, wanted, atol=0.05)


@pytest.mark.parametrize('seed', [3, 15])
def test_small_temperature(seed):
    """The best action is found, not a good one near where the policy began."""
    dataset = Digits('train', pipeline=[])
    shown = torch.stack([torch.from_numpy(dataset.get_data_info(i)['img'])
                         for i in range(20)]).permute(0, 3, 1, 2)[:, None]
    torch.manual_seed(seed)
    values = smoothed(0.7 * torch.randn(1, 20).double())
    values = values - 2 * (torch.arange(20) - 5).abs().double()
    policy = LeNetPolicy(20, image_size=16)
    fit_policy(policy, shown.expand(-1, 4, -1, -1, -1),
               values.expand(20, -1), torch.tensor(0.1).double())
    chosen = policy(shown[:, 0].float()).argmax(1)
    assert (chosen == values.argmax()).all()


def test_many_images_are_thinned_out():
    values = torch.zeros(200, 4).double()
    values[:, 2] = 1.
    policy = ConstantPolicy(4)
    fit_policy(policy, images(200), values, torch.tensor(0.1).double())
    assert policy.scores.softmax(0)[2] > 0.95


def test_draws_nothing_and_leaves_no_gradient():
    policy, shown, values = LeNetPolicy(4), images(2), torch.rand(2, 4)
    state = torch.get_rng_state()
    fit_policy(policy, shown, values.double(), torch.tensor(0.1).double())
    assert torch.equal(torch.get_rng_state(), state)
    assert all(p.grad is None or not p.grad.any()
               for p in policy.parameters())
