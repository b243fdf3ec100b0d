import torch

from repfusion_mm.models.losses.pooled import pooled


def test_maps_and_vectors():
    maps = torch.arange(24.).view(2, 3, 2, 2)
    wanted = torch.tensor([[1.5, 5.5, 9.5], [13.5, 17.5, 21.5]])
    assert torch.equal(pooled(maps), wanted)
    assert torch.equal(pooled(wanted), wanted)


def test_half():
    # the sum, 80000, is beyond float16
    big = torch.full((1, 1, 2, 2), 20000., dtype=torch.float16)
    assert pooled(big).dtype == pooled(big[..., 0, 0]).dtype == torch.float32
    assert pooled(big).item() == 20000.
