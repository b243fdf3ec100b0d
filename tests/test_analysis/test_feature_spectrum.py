"""repfusion_mm/analysis/feature_spectrum.py"""
import numpy as np
import pytest
import torch

from repfusion_mm.analysis.feature_spectrum import (
    spectra_over_time,
    spectrum,
)
from repfusion_mm.analysis.looked_images import LookedImages


def rank_of(rows):
    """RankMe by the eigenvalues of the Gram matrix, in float64."""
    values = np.sqrt(np.linalg.eigvalsh(rows @ rows.T).clip(0))
    shares = values[values > 1e-9 * values.max()] / values.sum()
    return np.exp(-(shares * np.log(shares)).sum())


def test_spectrum():
    torch.manual_seed(0)
    rows = torch.randn(9, 5).double() * torch.tensor([9., 4, 1, .1, 0]) + 7
    found = spectrum(rows.float())
    own = rows.float().double().numpy()
    assert found['rank'] == pytest.approx(rank_of(own), rel=1e-5)
    centred = own - own.mean(0)
    assert found['centred_rank'] == pytest.approx(rank_of(centred), rel=1e-5)
    values = np.linalg.svd(centred, compute_uv=False)
    np.testing.assert_allclose(found['singular_values'],
                               values / values.sum(), atol=1e-12)


class Growing(torch.nn.Module):
    """Features that use t + 1 directions alike."""
    feature_shapes = dict(tap=(8, 2, 2))

    def read_samples(self, samples):
        return None

    def forward(self, images, timesteps, labels):
        number = images[:, 0, 0, 0].long() % 8
        kept = number.clamp(max=int(timesteps[0]))
        vectors = torch.eye(8)[kept]
        return dict(tap=vectors[:, :, None, None].expand(-1, -1, 2, 2))


def test_over_time():
    images = torch.arange(16, dtype=torch.uint8)[:, None, None, None, None]
    looked = LookedImages(images.expand(-1, 1, 3, 2, 2), [], list(range(16)))
    rows = spectra_over_time(Growing(), looked, [0, 1, 7], draws=2)
    assert [(row['t'], row['images'], row['channels']) for row in rows] == [
        (0, 8, 8), (1, 8, 8), (7, 8, 8)]
    # one image in 8 has the first direction, seven the second
    shares = np.array([1, 7**0.5]) / (1 + 7**0.5)
    wanted = [1, np.exp(-(shares * np.log(shares)).sum()), 8]
    assert [row['rank'] for row in rows] == pytest.approx(wanted)
    assert all(row['rank_std'] == pytest.approx(0) for row in rows)
    assert len(rows[0]['singular_values']) == 8
    one = spectra_over_time(Growing(), looked, [1], draws=1)[0]
    assert one['images'] == 16 and one['rank_std'] is None
    with pytest.raises(ValueError, match='16 images are too few for 9'):
        spectra_over_time(Growing(), looked, [1], draws=9)
