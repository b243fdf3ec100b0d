import copy
import json
from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch import nn

from repfusion_mm.engine.hooks.finite_weights import FiniteWeights, not_finite

UNIFORM = 'configs/demo/repfusion_resnet18_uniform_digits.py'


class Masked(nn.Module):
    """A buffer of minus infinities, as a causal mask is."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(2, 2)
        self.norm = nn.BatchNorm1d(2)
        self.register_buffer('mask', torch.full((2, 2), float('-inf')).triu(1))


def test_names():
    model = Masked()
    weights = FiniteWeights(model)
    assert not_finite(model.state_dict()) == ['mask']
    weights.check(dict(state_dict=model.state_dict()))
    weights.check({})  # a strategy that has no state to show
    model.mask.fill_(float('nan'))  # it was not finite to begin with
    model.register_buffer('later', torch.tensor(float('-inf')))
    weights.check(dict(state_dict=model.state_dict()))
    model.norm.running_var[1] = float('inf')
    with torch.no_grad():
        model.linear.weight[0, 1] = float('nan')
    with pytest.raises(FloatingPointError,
                       match='weights: linear.weight, norm.running_var, of 9'):
        weights.check(dict(state_dict=model.state_dict()))


def test_averaged_weights():
    """Whichever of the two hooks is asked first."""
    model = Masked()
    weights = FiniteWeights(model)
    good = {**model.state_dict()}
    average = {f'module.{name}': value for name, value in good.items()}
    average['steps'] = torch.tensor(3)
    weights.check(dict(state_dict=good, ema_state_dict=average))
    bad = {**average,
           'module.linear.bias': torch.tensor([0., float('inf')])}
    with pytest.raises(FloatingPointError, match='module.linear.bias'):
        weights.check(dict(state_dict=good, ema_state_dict=bad))


class Spoil(Hook):
    """The gradients of another process, which are NaN, arrive."""

    def __init__(self, at=2):
        self.at = at

    def after_train_iter(self, runner, batch_idx, data_batch=None,
                         outputs=None):
        if runner.iter + 1 == self.at:
            with torch.no_grad():
                next(runner.model.parameters()).view(-1)[0] = float('nan')


@pytest.fixture
def spoilt(load_config):
    """A run whose weights are spoilt in an iteration before its checkpoint."""
    HOOKS.register_module(name='Spoil', module=Spoil, force=True)

    def load(config, ema=False, **options):
        cfg = load_config(config, 2, **options)
        cfg.custom_hooks = [
            dict(type='mmengine.Spoil', priority='VERY_HIGH'),
            *([dict(type='EMAHook', momentum=0.3)] if ema else []),
            dict(type='repfusion_mm.DPMExportHook', num_samples=0)
            if 'dpm' in config else dict(type='repfusion_mm.TimeSamplerHook')]
        return Runner.from_cfg(cfg)

    return load


@pytest.mark.parametrize('ema', [False, True])
def test_no_checkpoint(spoilt, tmp_path, ema):
    runner = spoilt(UNIFORM, ema)
    with pytest.raises(FloatingPointError, match='backbone.conv1.weight'):
        runner.train()
    assert not list(tmp_path.glob('*.pth'))


@pytest.mark.parametrize('checkpoint', [True, False])
def test_no_export(spoilt, tmp_path, tiny, checkpoint):
    options = {'model.denoiser': dict(tiny, _delete_=True)}
    if not checkpoint:
        options['default_hooks.checkpoint'] = None
    runner = spoilt('configs/demo/dpm_unet_digits.py', **options)
    with pytest.raises(FloatingPointError, match='denoiser.conv_in.weight'):
        runner.train()
    assert not list(tmp_path.glob('*.pth'))
    assert not (tmp_path / 'dpm').exists()


def test_in_good_health(spoilt, tmp_path):
    runner = spoilt(UNIFORM, True)
    runner.model.register_buffer('mask', torch.tensor(float('-inf')))
    next(hook for hook in runner.hooks if isinstance(hook, Spoil)).at = None
    before = copy.deepcopy(runner.model.state_dict())
    runner.train()
    state = torch.load(next(tmp_path.glob('*.pth')),
                       weights_only=False)['state_dict']
    assert state['mask'] == float('-inf')
    assert not torch.equal(state['backbone.conv1.weight'],
                           before['backbone.conv1.weight'])
    file, = Path(tmp_path).glob('*/vis_data/scalars.json')
    assert json.loads(file.read_text().splitlines()[-1])['step'] == 2
