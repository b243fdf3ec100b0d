import math

import numpy as np
import pytest
import torch


@pytest.fixture
def loss(build):
    return lambda **cfg: build(dict(type='repfusion_mm.InfoNCELoss', **cfg))


def reference(student, teacher, temperature=0.07):
    """One image after the other; in float64 no exponential overflows."""
    student, teacher = (f.mean((2, 3)) for f in (student, teacher))
    losses = []
    for i, one in enumerate(student):
        scores = [math.exp(one @ other / temperature / math.sqrt(
            (one @ one) * (other @ other))) for other in teacher]
        losses.append(-math.log(scores[i] / sum(scores)))
    return np.mean(losses)


@pytest.mark.parametrize('temperature', [0.07, 0.5])
def test_value_and_gradient(loss, check_against, temperature):
    check_against(loss(temperature=temperature),
                  lambda s, t: reference(s, t, temperature),
                  torch.randn(4, 3, 2, 2), torch.randn(4, 3, 2, 2))


def test_default_temperature(loss, check_against):
    check_against(loss(), reference, torch.randn(3, 3, 1, 1),
                  torch.randn(3, 3, 1, 1))


def test_limits(loss):
    teacher = torch.eye(8)
    assert loss()(teacher, teacher).item() < 1e-4
    # a student that tells nothing apart
    assert loss()(torch.ones(8, 8), teacher).item() == \
        pytest.approx(math.log(8))


def test_small_temperature_does_not_overflow(loss):
    value = loss(temperature=1e-4)(torch.randn(4, 3), torch.randn(4, 3))
    assert value.isfinite()
