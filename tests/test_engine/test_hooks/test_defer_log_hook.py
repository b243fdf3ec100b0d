import json
from pathlib import Path

import pytest
from mmengine.hooks import Hook
from mmengine.runner import Runner

from repfusion_mm.engine.hooks import DeferLogHook

REINFORCED = 'configs/demo/repfusion_resnet18_reinforced_digits.py'
NAMES = ('loss', 'loss_feature', 'loss_policy', 'mean_t', 'mean_reward')


class CheckInvalidLossHook(Hook):
    """Stands in for mmdet's."""


@pytest.fixture
def run(load_config, tmp_path):

    def train(*hooks, iters=7, interval=3):
        cfg = load_config(REINFORCED, iters, **{
            'work_dir': str(tmp_path / str(len(hooks))),
            'default_hooks.logger.interval': interval,
            'default_hooks.checkpoint': None})
        cfg.custom_hooks = [dict(type='repfusion_mm.TimeSamplerHook'),
                            *hooks]
        runner = Runner.from_cfg(cfg)
        runner.train()
        return runner

    return train


def logged(runner):
    file, = Path(runner.work_dir).glob('*/vis_data/scalars.json')
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_log_is_the_same(run):
    """History, means and what is written, number by number."""
    plain, deferred = run(), run(dict(type='repfusion_mm.DeferLogHook'))
    for name in NAMES:
        wanted = plain.message_hub.get_scalar(f'train/{name}')
        got = deferred.message_hub.get_scalar(f'train/{name}')
        for one, other in zip(got.data, wanted.data):
            assert list(one) == pytest.approx(list(other), rel=1e-6), name
    for one, other in zip(logged(deferred), logged(plain)):
        assert {name: one[name] for name in NAMES} == \
            pytest.approx({name: other[name] for name in NAMES}, rel=1e-6)
    assert len(logged(deferred)) == len(logged(plain)) == 2
    assert deferred.model.unlogged is None


def test_nothing_is_handed_over_between(run):
    seen = []

    class Look(Hook):
        priority = 'VERY_LOW'

        def after_train_iter(self, runner, batch_idx, data_batch=None,
                             outputs=None):
            history = runner.message_hub.log_scalars.get('train/loss')
            seen.append((outputs, 0 if history is None
                         else len(history.data[0])))

    from mmengine.registry import HOOKS
    HOOKS.register_module(name='Look', module=Look, force=True)
    run(dict(type='repfusion_mm.DeferLogHook'), dict(type='mmengine.Look'))
    assert [outputs for outputs, _ in seen] == [{}] * 7
    assert [length for _, length in seen] == [0, 0, 3, 3, 3, 6, 7]


def test_wrong_company():
    hook = DeferLogHook()
    runner = type('', (), dict(model=type('Plain', (), {})(), hooks=[]))
    with pytest.raises(TypeError, match='belongs to a RepFusion.*got Plain'):
        hook.before_train(runner)
    runner.model.unlogged = None
    runner.hooks = [CheckInvalidLossHook()]
    with pytest.raises(ValueError, match='leave out one of the two'):
        hook.before_train(runner)
