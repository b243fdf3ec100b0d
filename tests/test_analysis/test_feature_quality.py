"""repfusion_mm/analysis/feature_quality.py"""
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from repfusion_mm.analysis import feature_quality as module
from repfusion_mm.models.rewards.targets import Targets


def classes(labels, number=2):
    hot = F.one_hot(torch.tensor(labels), number).double()[:, None]
    return Targets('class', hot, torch.ones(len(labels), 1,
                                            dtype=torch.bool),
                   torch.ones_like(hot), None)


def test_alignment_and_uniformity():
    torch.manual_seed(0)
    one, other = torch.randn(2, 7, 5).double()
    unit = [x / x.norm(dim=1, keepdim=True) for x in (one, other)]
    assert module.alignment(one, other) == pytest.approx(float(np.mean(
        [((a - b)**2).sum() for a, b in zip(*unit)])))
    assert module.alignment(one, 3 * one) == pytest.approx(0, abs=1e-12)
    pairs = [float((unit[0][i] - unit[0][j]).square().sum())
             for i in range(7) for j in range(i)]
    assert module.uniformity(one) == pytest.approx(
        math.log(np.mean([math.exp(-2 * d) for d in pairs])))
    assert module.uniformity(one[:1].repeat(4, 1)) == pytest.approx(0)


def test_knn():
    """Each half by the other; what is unknown is nobody's neighbour."""
    torch.manual_seed(0)
    labels = torch.arange(40) // 2 % 2
    directions = torch.eye(2)[labels].double()
    rows = (directions + 0.01 * torch.rand(40, 2))[:, None]
    known = labels[:, None].clone()
    assert module.knn_accuracy(rows, known, 3) == 100
    half = np.random.default_rng(0).permutation(40)[:20]
    wrong = known.clone()
    wrong[half] = 1 - wrong[half]
    assert module.knn_accuracy(rows, wrong, 3) == 0
    rows[4] = -rows[4]
    assert module.knn_accuracy(rows, known, 3) < 100
    known[4] = -1
    assert module.knn_accuracy(rows, known, 3) == 100


def test_labelled():
    torch.manual_seed(0)
    labels = [0, 1] * 20
    noise = torch.randn(40, 1, 6).double()
    known = noise.clone()
    known[:, 0, 2] += 8 * (2 * torch.tensor(labels) - 1)
    good = module.feature_quality(known, classes(labels))
    bad = module.feature_quality(noise, classes(labels))
    assert set(good) == {'rank', 'probe', 'knn'}
    assert good['probe'] > 95 and good['knn'] > 95
    assert abs(bad['probe'] - 50) < 30
    # each image by a fit that has not seen it: noise is not learnt by heart
    many = module.feature_quality(torch.randn(40, 1, 200).double(),
                                  classes(labels))
    assert many['probe'] < 80
    # whatever the units of the channels
    units = known * torch.logspace(-6, 6, 6).double()
    assert module.feature_quality(units, classes(labels))['probe'] == \
        pytest.approx(good['probe'])


def test_unlabelled():
    torch.manual_seed(0)
    one = torch.randn(12, 4, 6)
    found = module.feature_quality(one)
    assert set(found) == {'rank', 'uniformity'}
    again = module.feature_quality(one, None, one + 0.1)
    assert set(again) == {'rank', 'uniformity', 'alignment'}
    assert again['rank'] == found['rank']
