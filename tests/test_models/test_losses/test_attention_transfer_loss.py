import numpy as np
import pytest
import torch


@pytest.fixture
def loss(build):
    return build(dict(type='repfusion_mm.AttentionTransferLoss'))


def attention(feature):
    """As defined, one position after the other."""
    n, channels, height, width = feature.shape
    maps = np.zeros((n, height, width))
    for i, y, x in np.ndindex(maps.shape):
        maps[i, y, x] = sum(feature[i, c, y, x]**2 for c in range(channels))
    for i in range(n):
        maps[i] /= np.sqrt((maps[i]**2).sum()) + 1e-6
    return maps


def reference(student, teacher):
    return ((attention(student) - attention(teacher))**2).mean()


def test_value_and_gradient(loss, check_against):
    # channels need not be as many
    check_against(loss, reference, torch.randn(2, 3, 4, 3),
                  torch.randn(2, 5, 4, 3))
    assert loss.needs_maps is True


def test_small_features(loss, check_against):
    # where the 1e-6 tells: the map's norm is of that order
    check_against(loss, reference, 1e-3 * torch.randn(2, 3, 2, 2),
                  torch.randn(2, 3, 2, 2), rel=1e-4)


def test_channels_and_scale_do_not_matter(loss):
    teacher = torch.randn(2, 4, 3, 3)
    student = -7 * teacher.flip(1)
    assert loss(student, teacher).item() == pytest.approx(0, abs=1e-9)
    assert loss(student.flip(2), teacher).item() > 1e-3


def test_upper_bound(loss):
    one, other = torch.zeros(2, 1, 1, 4, 4)
    one[..., 0, 0] = other[..., 3, 3] = 5.
    assert loss(one, other).item() == pytest.approx(2 / 16, rel=1e-5)
