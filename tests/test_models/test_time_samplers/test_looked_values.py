import pytest
import torch

from repfusion_mm.models.time_samplers.looked_values import (
    at_centres,
    looked_values,
)

IMAGES = torch.zeros(40, 2, 3, 8, 8, dtype=torch.uint8)


def dots(count=40, views=2):
    """Images that come in two kinds, much alike within each."""
    images = torch.randint(0, 10, (count, views, 3, 8, 8), dtype=torch.uint8)
    images[::2] += 200
    return images


def test_mean_and_standard_error():
    torch.manual_seed(0)
    noise = 0.3 * torch.randn(400, 1, 6).double()
    level = 5 * torch.randn(400, 1, 1).double()  # of the image, at any t
    worth = torch.tensor([0., 0., 0., 1., 0., 0.]).double()
    found = looked_values((worth + level + noise).expand(-1, 2, -1),
                          dots(400))
    # neighbours are heard: half of the peak, a quarter of it beside
    wanted = torch.tensor([0., 0., 0.25, 0.5, 0.25, 0.]) - 1 / 6
    assert found.mean.tolist() == pytest.approx(wanted.tolist(), abs=0.05)
    # of the part that differs between time steps: 5 of 6 degrees
    assert float(found.std_error) == pytest.approx(
        0.3 * (5 / 6)**0.5 / 400**0.5, rel=0.1)


def test_what_one_image_says_alone_is_not_believed():
    torch.manual_seed(0)
    rewards = torch.randn(40, 1, 6).double().expand(-1, 2, -1)
    found = looked_values(rewards, dots())
    assert float(found.likeness) < 0.15
    spread = found.values - found.values.mean(0)
    assert spread.abs().max() < 0.3 * rewards.std()


def test_what_images_alike_agree_on_is_believed():
    rewards = 0.01 * torch.randn(40, 2, 6).double()
    rewards[::2, :, :3] += 1  # the bright ones like small t
    rewards[1::2, :, 3:] += 1
    found = looked_values(rewards, dots())
    assert float(found.likeness) > 0.95
    assert (found.values[::2, 1] > found.values[::2, 4]).all()
    assert (found.values[1::2, 1] < found.values[1::2, 4]).all()


@pytest.mark.parametrize('count', [1, 2])
def test_few_images(count):
    found = looked_values(torch.rand(count, 1, 5).double(),
                          IMAGES[:count, :1])
    assert found.values.isfinite().all() and found.std_error.isfinite()


def test_centres():
    values = torch.tensor([[0., 1., 3.]]).double()
    # bins of 10: centres 5, 15, ...
    found = at_centres(values, [15, 25, 45], 6, 10)
    assert found.tolist() == [[0., 0., 1., 2., 3., 3.]]
    assert at_centres(values[:, :1] + 2, [100], 3, 10).tolist() == [[2.] * 3]


def told(rewards, rank):
    """What the rank adds to the mean, in standard errors."""
    without, found = looked_values(rewards, IMAGES), \
        looked_values(rewards, IMAGES, rank)
    added = (found.mean - without.mean) / without.std_error
    torch.testing.assert_close(found.values - without.values, (
        added * without.std_error).expand(40, -1))
    assert found.std_error == without.std_error
    return added


def test_rank_is_heard():
    """Two standard errors a standard deviation, whatever its scale."""
    torch.manual_seed(0)
    rewards = torch.randn(40, 2, 4).double()
    rank = torch.tensor([1., 3., 3., 1.]).double()
    wanted = torch.tensor([-2., 2., 2., -2.]).double()
    for scale, level in ((1., 0.), (5., 100.)):
        torch.testing.assert_close(told(rewards, scale * rank + level),
                                   wanted)
    assert not told(rewards, torch.full((4, ), 7.)).any()


def test_many_labels_outvote_the_rank():
    torch.manual_seed(0)
    rewards = torch.randn(4000, 1, 4).double()
    rewards[..., 0] += 1
    rank = torch.tensor([1., 1., 3., 3.]).double()
    images = IMAGES[:1, :1].expand(4000, 1, -1, -1, -1)
    assert looked_values(rewards, images, rank).mean.argmax() == 0
    assert looked_values(rewards[:8], images[:8], rank).mean.argmax() > 1


def test_a_rank_that_hardly_differs_says_little():
    torch.manual_seed(0)
    rewards = torch.randn(40, 2, 4).double()
    rank = 50 + torch.tensor([0., 0.1, 0., 0.1]).double()
    assert told(rewards, rank).abs().max() < 0.11


def test_rank_decides_alone_where_labels_are_silent():
    found = looked_values(torch.zeros(20, 1, 4).double(), IMAGES[:20, :1],
                          torch.tensor([1., 2., 4., 3.]).double())
    assert found.mean.argmax() == 2 and found.std_error == 0
