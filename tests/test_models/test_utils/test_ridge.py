import pytest
import torch

from repfusion_mm.models.utils.ridge import ridge_fit, ridge_residuals


def brute_force(x, y, ridge, mask, kept):
    """Coefficients and intercept of the rows kept, by normal equations."""
    everything = x[mask]
    weight = ridge * (everything - everything.mean(0)).square().sum()
    rows, targets = x[mask & kept], y[mask & kept]
    design = torch.cat([rows, torch.ones(len(rows), 1).double()], 1)
    penalty = weight * torch.eye(design.size(1)).double()
    penalty[-1, -1] = 0  # the intercept
    solution = torch.linalg.solve(design.T @ design + penalty,
                                  design.T @ targets)
    return solution[:-1], solution[-1]


def problem(channels, missing=0.):
    torch.manual_seed(3)
    x, y = torch.randn(7, 3, channels).double() + 2, torch.randn(7, 3, 2)
    mask = torch.rand(7, 3) >= missing
    return x, y.double(), mask


@pytest.mark.parametrize('channels', [4, 40])  # more rows, or more channels
@pytest.mark.parametrize('missing', [0., 0.4])
def test_groups_left_out(channels, missing):
    x, y, mask = problem(channels, missing)
    assert missing == 0. or not mask[0].all()
    found = ridge_residuals(x, y, [0.01, 1.], mask)
    for ridge, errors in zip([0.01, 1.], found):
        for group in range(7):
            kept = torch.ones_like(mask)
            kept[group] = False
            coefficients, intercept = brute_force(x, y, ridge, mask, kept)
            wanted = y[group] - x[group] @ coefficients - intercept
            wanted = wanted * mask[group][:, None]
            assert torch.allclose(errors[group], wanted, atol=1e-9)


@pytest.mark.parametrize('channels', [4, 40])
def test_fit_to_all(channels):
    x, y, mask = problem(channels, 0.3)
    coefficients, intercept = ridge_fit(x, y, 0.1, mask)
    wanted = brute_force(x, y, 0.1, mask, torch.ones_like(mask))
    assert torch.allclose(coefficients, wanted[0], atol=1e-9)
    assert torch.allclose(intercept, wanted[1], atol=1e-9)
    errors = (y - x @ coefficients - intercept) * mask[..., None]
    found, = ridge_residuals(x, y, [0.1], mask, held_out=False)
    assert torch.allclose(found, errors, atol=1e-9)


def test_views_of_an_image_do_not_predict_each_other():
    # images tell nothing of each other, views of one everything
    x = torch.randn(20, 1, 50).repeat(1, 4, 1)
    y = torch.randn(20, 1, 1).repeat(1, 4, 1)
    together, = ridge_residuals(x, y, [0.001])
    apart, = ridge_residuals(x.view(80, 1, 50), y.view(80, 1, 1), [0.001])
    assert apart.square().mean() < 0.05
    assert together.square().mean() > 0.5
