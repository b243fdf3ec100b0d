"""What the tests of the losses share."""
import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode


class Largest(TorchDispatchMode):
    """How many elements the largest tensor has that any operation makes."""

    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, (tuple, list)) else [out]:
            if isinstance(tensor, torch.Tensor):
                self.elements = max(self.elements, tensor.numel())
        return out


@pytest.fixture
def largest():
    """The class of a context that finds the largest tensor made in it."""
    return Largest


@pytest.fixture
def check_against():
    """Compares value and gradient with a reference in float64.

    The reference takes two arrays; its gradient is a central difference.
    """

    def check(module, reference, student, teacher, rel=1e-5):
        arrays = [f.double().numpy() for f in (student, teacher)]
        leaf = student.clone().requires_grad_()
        loss = module(leaf, teacher)
        assert loss.dtype == torch.float32 and loss.shape == ()
        assert loss.item() == pytest.approx(reference(*arrays), rel=rel)
        loss.backward()
        got = leaf.grad.double().numpy()
        step = 1e-5
        wanted = np.zeros_like(arrays[0])
        for index in np.ndindex(wanted.shape):
            up, down = arrays[0].copy(), arrays[0].copy()
            up[index] += step
            down[index] -= step
            wanted[index] = (reference(up, arrays[1]) -
                             reference(down, arrays[1])) / (2 * step)
        scale = np.abs(wanted).max()
        assert scale > 0
        np.testing.assert_allclose(got, wanted, rtol=1e-3, atol=1e-4 * scale)

    return check
