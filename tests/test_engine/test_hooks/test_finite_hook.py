import pytest
import torch
from mmengine.runner import Runner

from repfusion_mm.engine.hooks import FiniteHook

SCRATCH = 'configs/demo/resnet18_scratch_digits.py'
UNIFORM = 'configs/demo/repfusion_resnet18_uniform_digits.py'
REINFORCED = 'configs/demo/repfusion_resnet18_reinforced_digits.py'


def stops(runner, match, tmp_path):
    with pytest.raises(FloatingPointError, match=match):
        runner.train()
    assert not list(tmp_path.glob('*.pth'))
    return [name for name, value in runner.model.named_parameters()
            if not value.isfinite().all()]


def test_task_loss(load_config, tmp_path):
    """Stage 2, a model of mmpretrain's that no hook of ours knows."""
    cfg = load_config(SCRATCH, 2, **{
        'val_cfg': None, 'val_dataloader': None, 'val_evaluator': None})
    cfg.model.head.loss.class_weight = [float('inf')] + [1.] * 9
    runner = Runner.from_cfg(cfg)
    assert any(isinstance(hook, FiniteHook) for hook in runner.hooks)
    wrong = stops(runner, 'step 1: NaN or infinity in loss; stopped before '
                     'the weights are changed', tmp_path)
    assert not wrong  # it was stopped in time


def test_unchanged_where_all_is_well(load_config, tmp_path):
    """The same weights with the hook and without it."""
    found = []
    for finite in (dict(type='repfusion_mm.FiniteHook'), None):
        cfg = load_config(SCRATCH, 2, **{
            'val_cfg': None, 'val_dataloader': None, 'val_evaluator': None})
        cfg.default_hooks.finite = finite
        cfg.work_dir = str(tmp_path / str(bool(finite)))
        cfg.experiment_name = f'finite_{bool(finite)}'
        runner = Runner.from_cfg(cfg)
        runner.train()
        assert 'parse_losses' not in vars(runner.model)
        found.append(runner.model.state_dict())
    torch.testing.assert_close(*found, rtol=0, atol=0)


@pytest.mark.parametrize('reward', [float('nan'), float('inf')])
def test_reward(load_config, tmp_path, reward):
    runner = Runner.from_cfg(load_config(
        REINFORCED, 2, **{'model.time_sampler.look': False}))
    runner.model.reward.register_forward_hook(
        lambda module, args, out: (torch.full_like(out[0], reward), *out[1:]))
    wrong = stops(runner, 'step 1: NaN or infinity in the reward;',
                     tmp_path)
    assert not wrong


def test_policy(load_config, tmp_path):
    """Logits that have overflowed are named, and not the loss of them."""
    runner = Runner.from_cfg(load_config(
        REINFORCED, 2, **{'model.time_sampler.look': False}))
    runner.model.time_sampler.policy.register_forward_hook(
        lambda module, args, logits: logits * float('inf'))
    stops(runner, 'step 1: NaN or infinity in the policy;', tmp_path)


def test_step_is_named(load_config, tmp_path):
    runner = Runner.from_cfg(load_config(UNIFORM, 3))
    runner.model.teacher.register_forward_hook(
        lambda module, args, out: {
            tap: z / (runner.iter != 1) for tap, z in out.items()})
    stops(runner, "step 2: NaN or infinity in the teacher's 'mid_block",
          tmp_path)


def test_weights(load_config, tmp_path):
    """A gradient may be NaN where the loss is not."""
    cfg = load_config(SCRATCH, 1, **{
        'val_cfg': None, 'val_dataloader': None, 'val_evaluator': None})
    runner = Runner.from_cfg(cfg)
    runner.model.head.fc.weight.register_hook(
        lambda gradient: gradient * float('nan'))
    wrong = stops(runner, 'weights: head.fc.weight, of', tmp_path)
    assert wrong == ['head.fc.weight']
