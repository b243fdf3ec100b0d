"""repfusion_mm/models/rewards/targets.py"""
import pytest
import torch

from repfusion_mm.models.rewards.keypoint_reward import gaussian_heatmaps
from repfusion_mm.models.rewards.targets import SIGMA, Targets, _places

SIZE = (48, 64)  # height and width of the images


def heatmaps(shares, grid):
    """Of keypoints at these shares of height and width, (M, K, 2)."""
    keypoints = shares.flip(-1) * torch.tensor(SIZE[::-1]) - 0.5
    maps, seen = gaussian_heatmaps(
        keypoints[:, None], torch.ones(shares.shape[:2]).bool()[:, None],
        SIZE[::-1], grid[::-1], SIGMA)
    assert seen.all()
    return maps.flatten(2).transpose(1, 2)


@pytest.mark.parametrize('grid', [(8, 8), (4, 8), (2, 2)])
def test_places(grid):
    """To less than a cell, at the borders too, whatever the height."""
    shares = torch.rand(50, 3, 2).double()
    found = _places(0.3 * heatmaps(shares, grid), grid)
    torch.testing.assert_close(found, shares)


def test_place_in_a_single_cell():
    assert _places(torch.ones(1, 1, 1).double(), (1, 1)).tolist() == [
        [[0.5, 0.5]]]


def test_score_of_keypoints():
    """PCK@0.05, of the keypoints that are seen."""
    grid = (8, 8)
    shares = 0.2 + 0.6 * torch.rand(4, 3, 2).double()
    values = heatmaps(shares, grid)
    weight = torch.ones_like(values)
    weight[0, :, 2] = 0
    targets = Targets('keypoint', values, torch.ones(4, 64).bool(), weight,
                      grid)
    away = torch.tensor([0.04, 0.06, 0.1]).double()[None, :, None]
    angle = torch.rand(4, 3, 1).double() * 6.3
    moved = shares + away * torch.cat([angle.sin(), angle.cos()], -1)
    score = targets.score(values - heatmaps(moved, grid))
    assert score.tolist() == pytest.approx([1 / 2, 1 / 3, 1 / 3, 1 / 3])
