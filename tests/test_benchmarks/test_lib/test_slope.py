import numpy as np
import pytest
from scipy.stats import t

from benchmarks.lib.slope import slope


def test_against_least_squares():
    rng = np.random.default_rng(0)
    times = np.sort(rng.uniform(0, 2, 12))
    values = 3 + 5 * times + rng.normal(size=12)
    found = slope(times, values)
    design = np.stack([times, np.ones(12)], 1)
    solution, residual, *_ = np.linalg.lstsq(design, values, rcond=None)
    covariance = residual / 10 * np.linalg.inv(design.T @ design)
    half = t.ppf(0.975, 10) * covariance[0, 0]**0.5
    assert found['slope'] == pytest.approx(solution[0])
    assert found['low'] == pytest.approx(solution[0] - half)
    assert found['high'] == pytest.approx(solution[0] + half)


def test_constant():
    assert slope(range(30), [7] * 30) == dict(slope=0, low=0, high=0, mean=7)


def test_too_few():
    with pytest.raises(ValueError, match='3 values have no slope'):
        slope([0, 1, 2], [0, 1, 2])
