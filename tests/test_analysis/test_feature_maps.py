"""repfusion_mm/analysis/feature_maps.py"""
import numpy as np
import pytest
import torch

from repfusion_mm.analysis.feature_maps import pca_maps, principal_scores


def test_scores_by_singular_values():
    torch.manual_seed(0)
    feature = torch.randn(4, 6, 3, 5)
    rows = feature.permute(0, 2, 3, 1).reshape(-1, 6).double().numpy()
    left, values, _ = np.linalg.svd(rows - rows.mean(0), full_matrices=False)
    found = principal_scores(feature).reshape(-1, 3).numpy()
    wanted = (left * values)[:, :3]
    signs = np.sign((found * wanted).sum(0))
    np.testing.assert_allclose(found * signs, wanted, atol=1e-9)


def test_fewer_channels_than_colours():
    scores = principal_scores(torch.randn(2, 1, 3, 3))
    assert scores.shape == (2, 3, 3, 3)
    assert (scores[..., 0] != 0).any() and (scores[..., 1:] == 0).all()


def test_a_turned_map_has_the_same_colours():
    """Whatever the order, signs and sizes of a map's channels."""
    torch.manual_seed(0)
    feature = torch.randn(3, 3, 8, 8)
    turn = torch.linalg.qr(torch.randn(3, 3))[0]
    other = torch.einsum('nchw,cd->ndhw', feature, turn) * 40
    one, same = pca_maps([feature, other])
    assert one.dtype == np.uint8 and one.shape == (3, 8, 8, 3)
    assert np.abs(one.astype(int) - same).max() <= 1
    assert one.min() == 0 and one.max() == 255


def test_a_coarser_map_of_the_same():
    torch.manual_seed(0)
    coarse = torch.randn(2, 3, 4, 4)
    fine = torch.nn.functional.interpolate(coarse, scale_factor=2,
                                           mode='bilinear')
    one, other = pca_maps([fine, -coarse])
    assert other.shape == (2, 4, 4, 3)
    # the mean of 2 x 2 is nearly the coarse one
    means = one.reshape(2, 4, 2, 4, 2, 3).mean((2, 4))
    assert np.corrcoef(means.ravel(), other.ravel())[0, 1] > 0.9


def test_vectors_are_refused():
    with pytest.raises(ValueError, match=r'\(4, 6\): tap a module that gives'):
        pca_maps([torch.randn(4, 6)])
