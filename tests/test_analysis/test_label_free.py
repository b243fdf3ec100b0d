import pytest
import torch

from repfusion_mm.analysis.label_free import effective_rank


def test_effective_rank():
    """Orthogonal directions of equal length count one each."""
    basis = torch.linalg.qr(torch.randn(12, 12))[0].double()
    assert effective_rank(basis[:5]) == pytest.approx(5)
    assert effective_rank(basis[:1].repeat(9, 1)) == pytest.approx(1)
    weights = torch.tensor([3., 1.]).double()
    share = weights / weights.sum()
    wanted = float((-(share * share.log()).sum()).exp())
    assert effective_rank(
        basis[:2] * weights[:, None]) == pytest.approx(wanted)
    assert effective_rank(torch.zeros(3, 4)) == 0
