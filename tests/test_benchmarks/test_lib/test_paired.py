
import numpy as np
import pytest
from scipy import stats


@pytest.fixture
def module():
    from benchmarks.lib import paired
    return paired


@pytest.mark.parametrize('one, other', [
    ([80., 79., 78.], [70., 74., 69.]), ([50., 61.], [52., 60.5]),
    ([1., 2., 3., 4., 5.], [5., 4., 3., 2., 1.])])
def test_student_t(module, one, other):
    mean, interval = module.paired_difference(one, other)
    gain = np.array(one) - np.array(other)
    n = len(gain)
    # by hand: mean, plus and minus t times the standard error
    center = gain.sum() / n
    error = np.sqrt(((gain - center)**2).sum() / (n - 1) / n)
    half = stats.t.ppf(0.975, n - 1) * error
    assert mean == pytest.approx(center, abs=0.006)
    assert interval == pytest.approx([center - half, center + half],
                                     abs=0.006)
    assert all(type(end) is float for end in [mean, *interval])  # JSON


def test_pairs_matter(module):
    # a spread that both arms share is none of the difference
    mean, interval = module.paired_difference([60., 70., 80.1],
                                              [59., 69.1, 79.])
    assert mean == 1. and 0.7 < interval[0] < interval[1] < 1.3


def test_one_seed_has_no_interval(module):
    assert module.paired_difference([71.239], [70.]) == (1.239, None)


def test_text(module):
    assert module.interval_text([-0.25, 13.04]) == '-0.2 to +13.0'
    assert module.interval_text(None) == ''


def test_same_seeds(module):
    one = dict(seeds=[3, 1, 2], nme=[30., 10., 20.])
    other = dict(seeds=[2, 4, 3], nme=[21., 41., 31.])
    assert module.same_seeds(one, other, 'nme') == [[20., 30.], [21., 31.]]
    assert module.same_seeds(one, dict(seeds=[9], nme=[1.]), 'nme') == [
        [], []]
