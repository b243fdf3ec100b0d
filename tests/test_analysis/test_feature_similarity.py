"""repfusion_mm/analysis/feature_similarity.py"""
import numpy as np
import pytest
import torch

from repfusion_mm.analysis.feature_similarity import (
    similarity,
    student_features,
)


def hsic_cka(one, other):
    """By the Hilbert-Schmidt criterion, trace(K H L H), in float64."""
    centre = np.eye(len(one)) - 1 / len(one)
    grams = [centre @ (rows @ rows.T) @ centre for rows in (one, other)]
    return np.sum(grams[0] * grams[1]) / np.sqrt(
        np.sum(grams[0]**2) * np.sum(grams[1]**2))


def test_against_hsic():
    torch.manual_seed(0)
    one = torch.randn(30, 4)
    features = dict(one=one, like=one[:, :3] + 0.3 * torch.randn(30, 3),
                    turned=5 + 2 * one @ torch.linalg.qr(
                        torch.randn(4, 4))[0], other=torch.randn(30, 40))
    found = similarity(features, draws=2)
    assert (found.names, found.images) == (list(features), 15)
    parts = np.array([[[hsic_cka(a[start:start + 15], b[start:start + 15])
                        for b in arrays] for a in arrays]
                      for arrays in [[f.double().numpy() for f in
                                      features.values()]]
                      for start in (0, 15)])
    np.testing.assert_allclose(found.cka, parts.mean(0), atol=1e-6)
    np.testing.assert_allclose(found.std, parts.std(0, ddof=1), atol=1e-6)
    assert found.cka[0, 2] == pytest.approx(1)
    assert similarity(features, draws=1).std is None
    record = found.record()
    assert record['cka'][0][1] == record['cka'][1][0]


def test_chance_tells_few_images():
    torch.manual_seed(0)
    many, few = (similarity(
        {name: torch.randn(count, 32) for name in 'ab'}, 1)
        for count in (3000, 33))
    assert many.chance < 0.05 < 0.3 < few.chance
    assert few.cka[0, 1] == pytest.approx(few.chance, abs=0.1)
    with pytest.raises(ValueError, match='8 images are too few for 3 draws'):
        similarity(dict(one=torch.randn(8, 4)), 3)


def test_layers_of_a_student():
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Flatten())
    inputs = torch.randn(70, 3, 5, 5)
    found = student_features(net, inputs, ['0', 'out.0'])
    torch.testing.assert_close(found['0'], net[0](inputs).mean((2, 3)))
    torch.testing.assert_close(found['out.0'], net(inputs))
    with pytest.raises(ValueError, match='student-taps.*nearest'):
        student_features(net, inputs, ['2'])
