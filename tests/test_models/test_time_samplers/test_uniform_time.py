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


@pytest.mark.parametrize('cfg', [dict(max_t=0), dict(min_t=-1),
                                 dict(min_t=5, max_t=5)])
def test_wrong_range(build, cfg):
    with pytest.raises(ValueError, match='0 <= min_t < max_t'):
        build(dict(type='repfusion_mm.UniformTime', **cfg))
