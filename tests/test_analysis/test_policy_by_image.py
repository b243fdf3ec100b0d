"""repfusion_mm/analysis/policy_by_image.py"""
import pytest
import torch

from repfusion_mm.analysis.looked_images import LookedImages
from repfusion_mm.analysis.policy_by_image import by_class, policy_by_image
from repfusion_mm.analysis.studied import StudiedImages
from repfusion_mm.models.rewards.base import RewardInputs


@pytest.fixture
def seen(samples):
    def images(labels):
        raw = torch.randint(0, 256, (len(labels), 3, 16, 16),
                            dtype=torch.uint8)
        return StudiedImages(
            LookedImages(raw[:, None], samples(labels), []),
            raw / 127.5 - 1, ('zero', 'one'))

    return images


@pytest.fixture
def model(repfusion, build):
    def built(**parts):
        model = build(repfusion(**parts)).eval()
        model.teacher.init_weights()
        return model

    return built


def test_policy(model, seen):
    policy = model(time_sampler=dict(
        type='repfusion_mm.ReinforcedTime', num_bins=10,
        policy=dict(type='repfusion_mm.ConstantPolicy')))
    with torch.no_grad():  # a quarter at 200 to 299, the rest at 700 to 799
        policy.time_sampler.policy.scores[:] = -100
        policy.time_sampler.policy.scores[[2, 7]] = torch.tensor([1., 3]).log()
    images = seen([1, -1, 0])
    rows = policy_by_image(policy, images, draws=2)
    assert [row['label'] for row in rows] == [1, None, 0]
    for row in rows:
        assert row['mean_t'] == pytest.approx(
            (249.5 + 3 * 749.5) / 4, rel=1e-5)
        assert row['std_t'] == pytest.approx(500 * (3 / 16)**0.5, rel=1e-4)
    assert rows[1]['reward'] is None  # it has no label
    assert rows[0]['reward'] < 0 > rows[2]['reward']


def test_reward(model, seen):
    """As the reward says it of the time step that is always drawn."""
    fixed = model(time_sampler=dict(type='repfusion_mm.FixedTime', t=60))
    images = seen([1, 0, 3, 1])
    rows = policy_by_image(fixed, images, draws=3)
    assert all(row['mean_t'] == 60 and row['std_t'] == 0 for row in rows)
    raw = images.looked.images[:, 0].float()
    steps = torch.full((4, ), 60)
    wanted, _, _ = fixed.reward(RewardInputs(
        raw, steps, fixed.teacher(raw, steps), {},
        images.looked.data_samples))
    torch.testing.assert_close(
        torch.tensor([row['reward'] for row in rows]), wanted.detach())


def test_no_reward(model, seen):
    rows = policy_by_image(model(
        time_sampler=dict(type='repfusion_mm.UniformTime', max_t=50),
        reward=None), seen([1, 0]), draws=40)
    assert all(row['reward'] is None and row['mean_t'] < 50 for row in rows)
    assert all(5 < row['std_t'] < 25 for row in rows)


def test_by_class():
    rows = [dict(label=1, mean_t=10., reward=-1.),
            dict(label=1, mean_t=20., reward=-3.),
            dict(label=0, mean_t=60., reward=-2.),
            dict(label=None, mean_t=30., reward=None)]
    zero, one, both = by_class(rows, ['zero', 'one'])
    assert zero == {'class': 'zero', 'images': 1, 'mean_t': 60.,
                    't_error': None, 'reward': -2., 'reward_error': None}
    assert one == {'class': 'one', 'images': 2, 'mean_t': 15.,
                   't_error': pytest.approx(5), 'reward': -2.,
                   'reward_error': pytest.approx(1)}
    assert both['class'] == 'all' and both['images'] == 4
    assert both['mean_t'] == 30 and both['reward'] == -2
    assert by_class(rows)[1]['class'] == '1'
    assert by_class(rows[3:]) == [{
        'class': 'all', 'images': 1, 'mean_t': 30., 't_error': None,
        'reward': None, 'reward_error': None}]
