import pytest
import torch


@pytest.fixture
def step(repfusion, build, samples):
    """The losses of a batch of 6, and what the teacher was shown."""

    def run(labels, seed=0, **sampler):
        torch.manual_seed(seed)
        model = build(repfusion(time_sampler=dict(
            type='repfusion_mm.ReinforcedTime', num_bins=10, **sampler)))
        model.init_weights()
        shown, look = [], model.teacher.forward

        def forward(images, timesteps, told=None):
            shown.append((images, timesteps))
            return look(images, timesteps, told)

        model.teacher.forward = forward
        torch.manual_seed(seed)
        images = torch.rand(6, 3, 16, 16) * 2 - 1
        losses = model.loss(images, samples(labels))
        return model, losses, shown

    return run


def test_rewarded_images_alone_are_looked_at_again(step):
    model, losses, shown = step([-1, 3, -1, 1, 2, -1], num_draws=3)
    assert [len(images) for images, _ in shown] == [6, 3, 3]
    whole = shown[0][0]
    for images, _ in shown[1:]:
        assert torch.equal(images, whole[[1, 3, 4]])
    assert not torch.equal(shown[1][1], shown[2][1])
    model.parse_losses(losses)[0].backward()
    assert all(p.grad.isfinite().all() for p in model.parameters()
               if p.grad is not None)
    assert model.time_sampler.policy.scores.weight.grad.any()


@pytest.mark.parametrize('labels', [[-1] * 6, [-1] * 5 + [2]])
def test_few_or_none_rewarded(step, labels):
    model, losses, shown = step(labels, num_draws=2)
    assert len(shown) == 2  # as often as any other process
    for name, loss in losses.items():
        assert loss.isfinite().all(), name
    if max(labels) < 0:
        assert losses['loss_policy'] == 0 == losses['loss_reward']
    model.parse_losses(losses)[0].backward()


def test_student_is_taught_as_by_one_draw(step):
    labels = [-1, 3, -1, 1, 2, -1]
    one, several = (step(labels, num_draws=draws)[1] for draws in (1, 4))
    assert one['loss_feature'] == several['loss_feature']
    assert one['mean_t'] == several['mean_t']
    assert one['mean_reward'] == several['mean_reward']


def test_reward_is_trained_by_the_mean(step):
    # one time step alone: all draws are alike
    labels = [0, 3, -1, 1, 2, -1]
    one, several = (
        step(labels, num_draws=draws, num_timesteps=10)[1]
        for draws in (1, 3))
    assert several['loss_reward'].item() == pytest.approx(
        one['loss_reward'].item(), rel=0.05)
    assert set(one) == set(several)
