import pytest
import torch


def test_range(build):
    sampler = build(dict(type='repfusion_mm.UniformTime', min_t=3, max_t=8))
    sample = sampler(torch.zeros(5000, 3, 1, 1))
    assert sample.timesteps.dtype == torch.long
    counts = torch.bincount(sample.timesteps, minlength=8)
    assert counts[:3].tolist() == [0] * 3 and len(counts) == 8
    # 1000 expected, standard deviation 28
    assert (counts[3:] - 1000).abs().max() < 150
    assert sampler.max_timestep == 7
    assert sampler.loss(sample, None, None) == {}


def test_default(build):
    assert build(dict(type='repfusion_mm.UniformTime')).max_timestep == 999


@pytest.mark.parametrize('cfg, match', [
    (dict(max_t=0), '`max_t` is 0, .*at least 1'),
    (dict(min_t=-1), '`min_t` is -1, .*at least 0'),
    (dict(min_t=5, max_t=5), '0 <= min_t < max_t')])
def test_wrong_range(build, cfg, match):
    with pytest.raises(ValueError, match=match):
        build(dict(type='repfusion_mm.UniformTime', **cfg))


@pytest.mark.parametrize('cfg, ranges', [
    (dict(max_t=[50, 1000, 3]), [(0, 50), (0, 1000), (0, 3)]),
    (dict(min_t=[0, 500], max_t=1000), [(0, 1000), (500, 1000)]),
    (dict(min_t=(2, 700), max_t=(4, 702)), [(2, 4), (700, 702)])])
def test_a_range_for_each_connection(build, cfg, ranges):
    sampler = build(dict(type='repfusion_mm.UniformTime', **cfg))
    assert sampler.num_ranges == len(ranges)
    assert sampler.max_timestep == max(high for _, high in ranges) - 1
    sample = sampler(torch.zeros(4000, 3, 1, 1))
    for part in sample[:3]:
        assert part.shape == (len(ranges), 4000)
    assert sample.timesteps.dtype == torch.long
    for drawn, (low, high) in zip(sample.timesteps, ranges):
        assert low <= drawn.min() and drawn.max() < high
        # four standard deviations of the mean of 4000
        middle, spread = (low + high - 1) / 2, (high - low) / 12**0.5
        assert (drawn.double().mean() - middle).abs() < spread / 63 * 4
    assert not sample.log_prob.any() and not sample.entropy.any()


def test_ranges_are_drawn_apart(build):
    sampler = build(dict(type='repfusion_mm.UniformTime', max_t=[1000] * 2))
    one, two = sampler(torch.zeros(4000, 3, 1, 1)).timesteps.double()
    assert torch.corrcoef(torch.stack([one, two]))[0, 1].abs() < 0.07


@pytest.mark.parametrize('max_t', [80, [80]])
def test_one_range(build, max_t):
    sampler = build(dict(type='repfusion_mm.UniformTime', max_t=max_t))
    assert sampler.num_ranges == 1
    sample = sampler(torch.zeros(4, 3, 1, 1))
    assert all(part.shape == (4, ) for part in sample[:3])
    assert sample.log_probs is None  # there is no policy


def test_range_that_changes(build):
    # what a schedule sets is what is drawn from
    sampler = build(dict(type='repfusion_mm.UniformTime', max_t=1000))
    sampler.max_t = 3
    drawn = sampler(torch.zeros(200, 3, 1, 1)).timesteps
    assert drawn.unique().tolist() == [0, 1, 2]


def test_other_number_of_ends(build):
    with pytest.raises(ValueError, match=r'as many min_t as max_t.*\[0, 1\].*'
                       r'\[5, 6, 7\]'):
        build(dict(type='repfusion_mm.UniformTime', min_t=[0, 1],
                   max_t=[5, 6, 7]))


def test_one_wrong_range_of_several(build):
    with pytest.raises(ValueError, match='0 <= min_t < max_t'):
        build(dict(type='repfusion_mm.UniformTime', min_t=[0, 60],
                   max_t=[50, 60]))


@pytest.mark.parametrize('cfg', [
    dict(max_t=0.5), dict(max_t='50'), dict(min_t=[0, 1.5])])
def test_no_whole_number(build, cfg):
    with pytest.raises(ValueError, match='`m.+` is .*expects a whole number'):
        build(dict(type='repfusion_mm.UniformTime', **cfg))
