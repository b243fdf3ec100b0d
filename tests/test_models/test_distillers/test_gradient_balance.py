"""repfusion_mm/models/distillers/gradient_balance.py"""
import pytest
import torch
from torch import nn

from repfusion_mm.models.distillers.gradient_balance import (
    balance,
    balanced_taps,
    check_balance,
)


@pytest.mark.parametrize('ratio', [0., 0.3, 2.])
@pytest.mark.parametrize('scale', [1e-3, 1., 1e4])
def test_pulls_in_proportion(ratio, scale):
    """Whatever the scale of the second loss."""
    torch.manual_seed(0)
    x = torch.randn(4, 3, 2, 2, dtype=torch.float64, requires_grad=True)
    own = [torch.randn_like(x) for _ in range(2)]
    task, distillation = balance(x, ratio)
    assert torch.equal(task, x) and torch.equal(distillation, x)
    ((task * own[0]).sum() + scale * (distillation * own[1]).sum()).backward()
    wanted = own[0] + ratio * own[1] * own[0].norm() / own[1].norm()
    torch.testing.assert_close(x.grad, wanted)


def test_nothing_pulls():
    """Without labels in a batch there is no gradient to be compared with."""
    x = torch.randn(2, 3, requires_grad=True)
    _, distillation = balance(x, 1.)
    distillation.sum().backward()
    assert torch.equal(x.grad, torch.zeros_like(x))
    x.grad = None
    task, _ = balance(x, 1.)
    task.sum().backward()
    assert torch.equal(x.grad, torch.ones_like(x))


def test_in_place_behind_it():
    layer = nn.Sequential(nn.Linear(3, 3), nn.ReLU(inplace=True))
    x = torch.randn(2, 3)
    with balanced_taps(layer, ['0'], 1.) as copies:
        output = layer(x)
    before = layer[0](x)
    torch.testing.assert_close(copies['0'], before)
    torch.testing.assert_close(output, before.relu())
    (output.sum() + copies['0'].square().sum()).backward()
    assert layer[0].weight.grad.isfinite().all()
    assert not layer[0]._forward_hooks


@pytest.mark.parametrize('paths, regressor, match', [
    (['backbone.layer4', 'out.-1'], None, "names 'out.-1'"),
    (['backbone.layer4'], dict(), 'there is a `regressor`')])
def test_refused(paths, regressor, match):
    with pytest.raises(ValueError, match=match):
        check_balance(paths, regressor)
