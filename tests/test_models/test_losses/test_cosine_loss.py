import numpy as np
import pytest
import torch


@pytest.fixture
def loss(build):
    return lambda **cfg: build(dict(type='repfusion_mm.CosineLoss', **cfg))


def cosine(a, b):
    return a @ b / np.sqrt((a @ a) * (b @ b))


def reference(student, teacher):
    return np.mean([1 - cosine(student[i, :, y, x], teacher[i, :, y, x])
                    for i in range(len(student))
                    for y in range(student.shape[2])
                    for x in range(student.shape[3])])


def pooled_reference(student, teacher):
    return np.mean([1 - cosine(s.mean((1, 2)), t.mean((1, 2)))
                    for s, t in zip(student, teacher)])


@pytest.mark.parametrize('pool', [False, True])
def test_value_and_gradient(loss, check_against, pool):
    module = loss(pool=pool)
    check_against(module, pooled_reference if pool else reference,
                  torch.randn(2, 4, 3, 2), torch.randn(2, 4, 3, 2))
    assert module.needs_maps is not pool


def test_half_of_the_normalized_hint(loss, build):
    hint = build(dict(type='repfusion_mm.HintLoss', normalize=True))
    pair = torch.randn(2, 3, 5, 4, 4)
    torch.testing.assert_close(2 * loss()(*pair), hint(*pair))


def test_range(loss):
    feature = torch.randn(2, 3)
    assert loss(pool=True)(feature, -4 * feature).item() == pytest.approx(2)
    assert loss(pool=True)(feature, 4 * feature).item() == \
        pytest.approx(0, abs=1e-6)
    assert loss(pool=True)(feature, 0 * feature).item() == 1
