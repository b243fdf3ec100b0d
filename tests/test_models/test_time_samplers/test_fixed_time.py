import pytest
import torch


def test_draw(build, images):
    sampler = build(dict(type='repfusion_mm.FixedTime', t=42))
    sample = sampler(images)
    assert sample.timesteps.dtype == torch.long
    assert sample.timesteps.tolist() == [42] * 4
    assert sampler.max_timestep == 42
    assert sampler.loss(sample, torch.ones(4), torch.ones(4).bool()) == {}
    assert not sampler.state_dict()


def test_default(build, images):
    sampler = build(dict(type='repfusion_mm.FixedTime'))
    assert sampler(images).timesteps.tolist() == [0] * 4


def test_negative(build):
    with pytest.raises(ValueError, match='`time_sampler.t`.*-1'):
        build(dict(type='repfusion_mm.FixedTime', t=-1))


def test_temperature_is_of_a_policy(build):
    with pytest.raises(ValueError, match='temperature` is of a policy'):
        build(dict(type='repfusion_mm.FixedTime', t='auto',
                   look=dict(temperature=0.1)))
