"""repfusion_mm/analysis/dense_probe.py"""
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from repfusion_mm.analysis.dense_probe import (
    dense_probe_over_time,
    of_images,
    ridge_scores,
)
from repfusion_mm.analysis.look import RIDGES
from repfusion_mm.models.rewards.targets import Targets


def masks(labels, known=None):
    """Targets of cells that are of one class each, (N, P)."""
    values = F.one_hot(labels, 3).double()
    mask = torch.ones_like(labels, dtype=torch.bool) if known is None \
        else known
    weight = (mask.double() / mask.sum(1, keepdim=True))[..., None]
    return Targets('mask', values * mask[..., None], mask,
                   weight.expand_as(values), (2, 2))


def told(count, seed, noise):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(3, (count, 4), generator=generator)
    rows = F.one_hot(labels, 3).float() @ torch.tensor(
        [[9., 0, 1, 0, 2], [0, 9, 1, 2, 0], [1, 0, 9, 0, 0]])
    return labels, rows + noise * torch.randn(count, 4, 5,
                                              generator=generator)


def reference(x, y, asked, ridge):
    """A ridge regression by numpy, its intercept not penalised."""
    x_mean, y_mean = x.mean(0), y.mean(0)
    x, y = x - x_mean, y - y_mean
    weight = ridge * np.square(x).sum()
    found = np.linalg.solve(x.T @ x + weight * np.eye(x.shape[1]), x.T @ y)
    return (asked - x_mean) @ found + y_mean


def test_against_a_closed_form():
    labels, rows = told(20, 0, 6.)
    known = torch.rand(20, 4) > 0.2
    known[:, 0] = True
    others, asked = told(9, 1, 6.)
    scores = ridge_scores(rows, masks(labels, known), asked, masks(others))
    x, y = (one[known].double().numpy() for one in (
        rows, F.one_hot(labels, 3)))
    right = [(reference(x, y, asked.double().numpy().reshape(-1, 5), ridge)
              .argmax(1).reshape(9, 4) == others.numpy()).mean(1)
             for ridge in RIDGES]
    assert any(np.allclose(scores.numpy(), one) for one in right)
    assert 0.4 < scores.mean() < 1


def test_over_time():
    labels, rows = told(30, 0, 2.)
    others, asked = told(12, 1, 2.)
    train = ({0: np.random.default_rng(0).normal(
        size=(30, 4, 5)).astype('f4'), 9: rows.numpy()}, masks(labels))
    test = ({0: np.random.default_rng(1).normal(
        size=(12, 4, 5)).astype('f4'), 9: asked.numpy()}, masks(others))
    chance, best = dense_probe_over_time(train, test)
    assert (chance['t'], best['t']) == (0, 9)
    assert chance['accuracy'] < 60 < 90 < best['accuracy']
    assert best['std_error'] is None and len(best['per_seed']) == 1
    few = dense_probe_over_time(train, test, labelled=4, seeds=3)[1]
    assert len(few['per_seed']) == 3
    draw = torch.from_numpy(np.random.default_rng(2).permutation(30)[:4])
    assert few['per_seed'][2] == pytest.approx(100 * float(ridge_scores(
        rows[draw], of_images(masks(labels), draw), asked,
        masks(others)).mean()))
    with pytest.raises(ValueError, match='31, but there are 30'):
        dense_probe_over_time(train, test, labelled=31)
