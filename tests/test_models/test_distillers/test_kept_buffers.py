import copy

import pytest
import torch
from torch import nn

from repfusion_mm.models.distillers.kept_buffers import kept_buffers


class SyncBatchNorm(nn.BatchNorm1d):
    """Stands in for torch's, which wants a GPU."""


class Average(nn.Module):
    """Puts another tensor in its buffer's place, as mmseg's EMAHead does."""

    def __init__(self):
        super().__init__()
        self.register_buffer('bases', torch.zeros(2))

    def forward(self, x):
        self.bases = 0.5 * self.bases + 0.5 * x.detach().mean(0)
        return x - self.bases


@pytest.mark.parametrize('others', [True, False])
def test_buffers(others):
    model = nn.Sequential(nn.BatchNorm1d(2), Average(), SyncBatchNorm(2),
                          nn.BatchNorm1d(2, track_running_stats=False))
    tensors, before = dict(model.named_buffers()), copy.deepcopy(model)
    x = torch.randn(8, 2, requires_grad=True)
    with kept_buffers(set(model.modules()), torch.tensor(others)):
        got = model(x)
    reference = copy.deepcopy(before)
    torch.testing.assert_close(got, reference(x))
    got.sum().backward()  # nothing that was saved has been changed
    for name, buffer in model.named_buffers():
        assert buffer is tensors[name]
        wanted = reference if others and name.startswith('2') else before
        torch.testing.assert_close(buffer, wanted.get_buffer(name))
    assert list(model.state_dict()) == list(before.state_dict())


def test_after_an_error():
    model = nn.BatchNorm1d(2)
    before, buffer = copy.deepcopy(model.state_dict()), model.running_mean
    with pytest.raises(ZeroDivisionError), \
            kept_buffers([model], torch.tensor(False)):
        model(torch.randn(8, 2))
        raise ZeroDivisionError
    assert model.running_mean is buffer
    torch.testing.assert_close(model.state_dict(), before)
