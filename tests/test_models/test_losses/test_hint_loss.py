import numpy as np
import pytest
import torch


@pytest.fixture
def loss(build):
    return lambda **cfg: build(dict(type='repfusion_mm.HintLoss', **cfg))


@pytest.fixture
def pair():
    return torch.randn(3, 5, 4, 6), torch.randn(3, 5, 4, 6)


def reference(student, teacher, distance, pool, normalize):
    student, teacher = (f.double().numpy() for f in (student, teacher))
    if pool:
        student, teacher = (f.mean((2, 3)) for f in (student, teacher))
    if normalize:
        student, teacher = (
            f / np.sqrt((f**2).sum(1, keepdims=True))
            for f in (student, teacher))
    diff = np.abs(student - teacher)
    diff = diff**2 if distance == 'l2' else diff
    # over vectors where they are of unit length, else over elements
    return diff.sum(1).mean() if normalize else diff.mean()


@pytest.mark.parametrize('distance', ['l1', 'l2'])
@pytest.mark.parametrize('pool', [False, True])
@pytest.mark.parametrize('normalize', [False, True])
def test_value(loss, pair, distance, pool, normalize):
    module = loss(distance=distance, pool=pool, normalize=normalize,
                  loss_weight=2.5)
    wanted = 2.5 * reference(*pair, distance, pool, normalize)
    assert module(*pair).item() == pytest.approx(wanted, rel=1e-5)
    assert module.needs_maps is not pool


def test_default_is_l2(loss, pair):
    wanted = reference(*pair, 'l2', False, False)
    assert loss()(*pair).item() == pytest.approx(wanted, rel=1e-5)


def test_normalized_l2_is_twice_one_minus_cosine(loss, pair):
    cosine = torch.cosine_similarity(*(f.double() for f in pair), dim=1)
    wanted = (2 - 2 * cosine).mean().item()
    assert loss(normalize=True)(*pair).item() == pytest.approx(wanted)


def test_vectors(loss):
    student, teacher = torch.randn(3, 5), torch.randn(3, 5)
    wanted = ((student.double() - teacher.double())**2).mean().item()
    assert loss(pool=True)(student, teacher).item() == pytest.approx(wanted)
    # a vector against a map of its size
    maps = teacher[..., None, None].expand(-1, -1, 2, 2)
    assert loss(pool=True)(student, maps).item() == pytest.approx(wanted)


@pytest.mark.parametrize('pool', [False, True])
def test_gradients(loss, pair, pool):
    student, teacher = (f.requires_grad_() for f in pair)
    loss(pool=pool)(student, teacher).backward()
    assert teacher.grad is None
    if not pool:
        torch.testing.assert_close(
            student.grad, 2 * (student - teacher).detach() / student.numel())
    assert student.grad.abs().sum() > 0


def test_float32_under_autocast(loss, pair):
    module = loss()
    wanted = module(*pair)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        got = module(*pair)
        low = module(*(f.bfloat16() for f in pair))
    assert got.dtype == low.dtype == torch.float32
    assert torch.equal(got, wanted)
    # the sum is not rounded to eight bits, only the features were
    wanted = reference(*(f.bfloat16().float() for f in pair), 'l2', False,
                       False)
    assert low.item() == pytest.approx(wanted, rel=1e-5)


def test_large_half_features(loss):
    big = torch.full((1, 4, 2, 2), 300., dtype=torch.float16)
    assert loss()(big, -big).item() == 360000.  # beyond float16


def test_unknown_distance(loss):
    with pytest.raises(ValueError, match='`loss.distance`.*l3.*l1'):
        loss(distance='l3')
