import math

import numpy as np
import pytest
import torch


@pytest.fixture
def loss(build):
    return lambda **cfg: build(dict(type='repfusion_mm.SoftLabelLoss', **cfg))


def probabilities(logits, temperature):
    likely = [math.exp(x / temperature) for x in logits]
    return [x / sum(likely) for x in likely]


def reference(student, teacher, temperature=4.):
    divergences = []
    for s, t in zip(student, teacher):
        s = s.mean((1, 2)) if s.ndim == 3 else s
        p, q = probabilities(t, temperature), probabilities(s, temperature)
        divergences.append(sum(a * math.log(a / b) for a, b in zip(p, q)))
    return temperature**2 * np.mean(divergences)


@pytest.mark.parametrize('temperature', [1., 4.])
@pytest.mark.parametrize('shape', [(3, 5), (3, 5, 2, 2)])
def test_value_and_gradient(loss, check_against, temperature, shape):
    check_against(loss(temperature=temperature),
                  lambda s, t: reference(s, t, temperature),
                  3 * torch.randn(shape), 3 * torch.randn(3, 5))


def test_default_temperature(loss, check_against):
    check_against(loss(), reference, torch.randn(2, 4), torch.randn(2, 4))


def test_sure_teacher(loss):
    # its unlikely classes have a probability of 0 in float32
    teacher = torch.tensor([[1000., 0., -1000.]])
    student = torch.tensor([[1., 2., 3.]], requires_grad=True)
    value = loss(temperature=1.)(student, teacher)
    value.backward()
    wanted = torch.logsumexp(student.detach().double(), 1).item() - 1
    assert value.item() == pytest.approx(wanted)
    assert student.grad.isfinite().all()


def test_a_shift_of_the_logits_does_not_matter(loss):
    student, teacher = torch.randn(2, 3, 4)
    torch.testing.assert_close(loss()(student + 7, teacher - 3),
                               loss()(student, teacher))
