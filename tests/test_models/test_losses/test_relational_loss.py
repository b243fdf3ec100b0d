import numpy as np
import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks


@pytest.fixture
def loss(build):
    return lambda **cfg: build(dict(type='repfusion_mm.RelationalLoss',
                                    **cfg))


def smooth_l1(a, b):
    gap = abs(a - b)
    return gap**2 / 2 if gap < 1 else gap - 0.5


def distances(x):
    n = len(x)
    matrix = np.zeros((n, n))
    for i in range(n):
        for j in range(n):
            if i != j:
                matrix[i, j] = np.sqrt(max(((x[i] - x[j])**2).sum(), 1e-12))
    return matrix / matrix[matrix > 0].mean()


def cosine(x, i, j, k):
    one, other = x[j] - x[i], x[k] - x[i]
    lengths = [np.sqrt((v**2).sum()) for v in (one, other)]
    return 0. if min(lengths) == 0 else one @ other / np.prod(lengths)


def reference(student, teacher, distance_weight=25., angle_weight=50.):
    """All pairs and triplets, one after the other."""
    student, teacher = (f.mean((2, 3)) if f.ndim == 4 else f
                        for f in (student, teacher))
    n = len(student)
    pairs = list(zip(distances(student).flat, distances(teacher).flat))
    angles = [(cosine(student, *ijk), cosine(teacher, *ijk))
              for ijk in np.ndindex(n, n, n)]
    return (distance_weight * sum(smooth_l1(*p) for p in pairs) / n**2 +
            angle_weight * sum(smooth_l1(*p) for p in angles) / n**3)


@pytest.mark.parametrize('weights', [
    {}, dict(angle_weight=0.), dict(distance_weight=0.),
    dict(distance_weight=3., angle_weight=2.)])
def test_value_and_gradient(loss, check_against, weights):
    check_against(loss(**weights),
                  lambda s, t: reference(s, t, **weights),
                  torch.randn(4, 3), torch.randn(4, 5), rel=1e-4)


def test_maps(loss, check_against):
    check_against(loss(), reference, torch.randn(4, 2, 2, 2),
                  torch.randn(4, 2, 3, 3), rel=1e-4)


def test_far_from_the_origin(loss, check_against):
    # |a|^2 + |b|^2 - 2ab would have no digit left
    student = 100 + torch.randn(4, 3).round(decimals=1)
    check_against(loss(), reference, student, torch.randn(4, 3), rel=1e-3)


def test_large_gaps_count_linearly(loss, check_against):
    # one far outlier: its normalised distances differ by more than 1
    teacher = torch.randn(6, 3)
    teacher[0] += 100
    student = torch.randn(6, 3)
    gap = np.abs(distances(student.numpy()) - distances(teacher.numpy()))
    assert gap.max() > 1
    check_against(loss(), reference, student, teacher, rel=1e-4)


@pytest.mark.parametrize('chunk_size', [1, 2, 3, 5, 7, 100])
def test_chunks_change_nothing(loss, chunk_size):
    student, teacher = torch.randn(7, 6), torch.randn(7, 6)

    def run(chunk_size):
        leaf = student.clone().requires_grad_()
        value = loss(chunk_size=chunk_size)(leaf, teacher)
        value.backward()
        return value, leaf.grad

    for got, wanted in zip(run(chunk_size), run(7)):
        torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-6)


def test_memory_is_bounded(loss, largest):
    n, channels, chunk_size = 40, 8, 4
    student = torch.randn(n, channels, requires_grad=True)
    teacher = torch.randn(n, channels)
    kept = {}

    def keep(tensor):
        kept[tensor.data_ptr()] = tensor.numel()
        return tensor

    def run(chunk_size):
        kept.clear()
        with largest() as found:
            with saved_tensors_hooks(keep, lambda tensor: tensor):
                value = loss(chunk_size=chunk_size)(student, teacher)
            saved = sum(kept.values())
            value.backward()
        return found.elements, saved

    elements, saved = run(chunk_size)
    assert elements == chunk_size * n * n
    assert saved < 10 * n * n  # the matrices of distances, no cosines
    assert run(n)[0] == n**3  # without chunks; the measurement sees them


def test_identical_images(loss):
    """No NaN, and no gradient as large as 1 / 0 rounded."""
    student = torch.randn(4, 3)
    student[1] = student[0]
    teacher = torch.randn(4, 3)
    leaf = student.clone().requires_grad_()
    value = loss()(leaf, teacher)
    wanted = reference(student.double().numpy(), teacher.double().numpy())
    assert value.item() == pytest.approx(wanted, rel=1e-4)
    value.backward()
    assert leaf.grad.isfinite().all() and leaf.grad.abs().max() < 100


def test_small_features(loss):
    # the diagonal is 0 and not the 1e-6 of the clamp, which would tell here
    student, teacher = 1e-5 * torch.randn(5, 3), torch.randn(5, 3)
    wanted = reference(student.double().numpy(), teacher.double().numpy())
    assert loss()(student, teacher).item() == pytest.approx(wanted, rel=1e-4)


def test_rotated_and_scaled(loss):
    teacher = torch.randn(6, 4)
    rotation = torch.linalg.qr(torch.randn(4, 4))[0]
    student = 3 * teacher @ rotation + 5
    assert loss()(student, teacher).item() == pytest.approx(0, abs=1e-6)


def test_one_image(loss):
    with pytest.raises(ValueError, match='RelationalLoss .*at least 2 a '
                                         'process, got 1.*batch_size'):
        loss()(torch.randn(1, 3), torch.randn(1, 3))
