import numpy as np
import pytest
import torch


@pytest.fixture
def loss(build):
    return build(dict(type='repfusion_mm.CKALoss'))


def reference(student, teacher):
    """By the Hilbert-Schmidt criterion: trace(K H L H)."""
    student, teacher = (f.mean((2, 3)) if f.ndim == 4 else f
                        for f in (student, teacher))
    n = len(student)
    centre = np.eye(n) - 1 / n
    grams = [f @ f.T for f in (student, teacher)]

    def hsic(one, other):
        return np.trace(one @ centre @ other @ centre)

    return 1 - hsic(*grams) / np.sqrt(
        hsic(grams[0], grams[0]) * hsic(grams[1], grams[1]))


@pytest.mark.parametrize('images, channels', [(3, 2), (8, 3), (4, 4),
                                              (4, 9)])
def test_value_and_gradient(loss, check_against, images, channels):
    # from matrices of features, and of images
    check_against(loss, reference, torch.randn(images, channels),
                  torch.randn(images, channels))


def test_other_channels_and_maps(loss, check_against):
    check_against(loss, reference, torch.randn(5, 2, 2, 2),
                  torch.randn(5, 7, 3, 3))


@pytest.mark.parametrize('images, channels', [(4, 40), (40, 4)])
def test_the_smaller_matrices_are_made(loss, largest, images, channels):
    pair = torch.randn(2, images, channels)
    with largest() as found:
        loss(*pair)
    assert found.elements == images * channels  # not 40 * 40


def test_invariances(loss):
    teacher = torch.randn(20, 4)
    rotation = torch.linalg.qr(torch.randn(4, 4))[0]
    student = 1e-3 * teacher @ rotation + 2
    assert loss(student, teacher).item() == pytest.approx(0, abs=1e-4)
    assert loss(torch.randn(20, 4), teacher).item() > 0.3


def test_large_mean(loss):
    student, teacher = torch.randn(6, 3), torch.randn(6, 3)
    wanted = loss(student, teacher).item()
    assert loss(student + 100, teacher).item() == \
        pytest.approx(wanted, abs=1e-4)


@pytest.mark.parametrize('constant', [0., 1., 0.1, 12345.678])
def test_constant_features(loss, constant):
    # the mean of equal numbers is not exactly that number
    student = torch.full((7, 3), constant, requires_grad=True)
    value = loss(student, torch.randn(7, 3))
    value.backward()
    assert value.item() == 1
    assert (student.grad == 0).all()


def test_two_images_are_always_alike():
    # why they are refused
    assert reference(np.random.randn(2, 5), np.random.randn(2, 5)) == \
        pytest.approx(0)


def test_two_images_are_refused(loss):
    with pytest.raises(ValueError, match='CKALoss .*at least 3 a process, '
                                         'got 2'):
        loss(torch.randn(2, 5), torch.randn(2, 5))
