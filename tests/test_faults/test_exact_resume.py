"""Runs that are killed end as those that are not, bit for bit."""
import random

import pytest

STAGE_1 = 'configs/demo/repfusion_resnet18_reinforced_digits.py'
SMALL = {'model.backbone.stem_channels': 4, 'model.backbone.base_channels': 4}
STEPS, EVERY = 12, 3


@pytest.fixture(scope='module')
def stage_1(make_job):
    """A policy that looked first, averaged weights, a log that waits."""
    job = make_job(STAGE_1, {
        **SMALL,
        'train_cfg.max_iters': STEPS,
        'train_dataloader.batch_size': 8,
        'param_scheduler': [dict(type='CosineAnnealingLR', T_max=STEPS,
                                 by_epoch=False)],
        'default_hooks.checkpoint.interval': EVERY,
        'default_hooks.defer_log': dict(type='repfusion_mm.DeferLogHook'),
        'model.time_sampler.entropy_weight': 0.1,
        'custom_hooks': [
            dict(type='EMAHook', momentum=0.1),
            dict(type='repfusion_mm.TimeSamplerHook', interval=4)]})
    job.complete('whole')
    return job


def moments():
    """All moments that a run can be killed at."""
    steps = [dict(where=where, count=count)
             for count in range(STEPS)
             for where in ('before_step', 'after_step', 'end_of_step')]
    writes = [dict(where=where, count=count)
              for count in range(1, STEPS // EVERY + 1)
              for where in ('half_written', 'before_rename', 'after_rename')]
    return steps, writes


def drawn(number, seed):
    """Some moments in the order of a run, one of them in a write."""
    steps, writes = moments()
    generator = random.Random(seed)
    return [generator.choice(writes), *generator.sample(steps, number - 1)]


@pytest.mark.parametrize('number', range(3))
def test_killed(stage_1, same_end, number):
    fault = dict(drawn(3, seed=0)[number], what='SIGKILL')
    name = f'killed{number}'
    assert stage_1.run(name, fault) == -9
    stage_1.complete(name, resume=True)
    same_end(stage_1, name, 'whole')


@pytest.mark.slow
@pytest.mark.parametrize('number', range(20))
def test_killed_at_many_moments(stage_1, same_end, number):
    fault = dict(drawn(20, seed=1)[number], what='SIGKILL')
    name = f'many{number}'
    assert stage_1.run(name, fault) == -9
    stage_1.complete(name, resume=True)
    same_end(stage_1, name, 'whole')
