import torch

from repfusion_mm.models.losses.unit_vectors import unit_vectors


def test_values():
    vectors = torch.tensor([[3., 4.], [0., -1e-3], [0., 0.], [5e-7, 0.]])
    wanted = torch.tensor([[.6, .8], [0., -1.], [0., 0.], [0., 0.]])
    torch.testing.assert_close(unit_vectors(vectors), wanted)
    torch.testing.assert_close(unit_vectors(vectors.T, 0), wanted.T)


def test_gradients():
    vectors = torch.tensor([[3., 4.], [0., 0.], [5e-7, 0.]],
                           requires_grad=True)
    back = torch.tensor([[1., 2.], [1., 2.], [1., 2.]])
    unit_vectors(vectors).backward(back)
    # (g - u (u . g)) / length, with u . g = 2.2
    wanted = torch.tensor([[1 - .6 * 2.2, 2 - .8 * 2.2], [0., 0.], [0., 0.]])
    wanted[0] /= 5
    torch.testing.assert_close(vectors.grad, wanted)


def test_a_nan_is_not_hidden():
    assert unit_vectors(torch.tensor([float('nan'), 1.])).isnan().all()
