"""Short runs of the demo's configs on a GPU, by the real Runner.

Each is rehearsed on the CPU, among the slow tests, with what a CPU has.
"""
import contextlib
import copy

import pytest
import torch
from mmengine.device import utils as mmengine_device
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch.nn.modules.batchnorm import SyncBatchNorm

REINFORCED = 'configs/demo/repfusion_resnet18_reinforced_digits.py'
BANK = 'configs/demo/repfusion_resnet18_bank_digits.py'
CLASSIFIER = 'configs/demo/resnet18_scratch_digits.py'
CUDA = pytest.param('cuda', marks=pytest.mark.gpu)
DEVICES = [pytest.param('cpu', marks=pytest.mark.slow), CUDA]
# what compiles in seconds on a CPU
GRAPHS = dict(cuda=dict(mode='reduce-overhead'),
              cpu=dict(backend='aot_eager'))
DEFER = dict(type='repfusion_mm.DeferLogHook')


@pytest.fixture
def device(request, monkeypatch):
    """What MMEngine computes on, also where there is a GPU."""
    monkeypatch.setattr(mmengine_device, 'DEVICE', request.param)
    return request.param


on_each = pytest.mark.parametrize('device', DEVICES, indirect=True)


@pytest.fixture
def train(load_config):
    """Trains; returns the runner and the losses that it logged."""
    runs = []

    def run(path, device, iters=4, hooks=(), change=lambda cfg: None,
            **options):
        cfg = load_config(path, iters, **options)
        cfg.experiment_name = f'run {len(runs)}'
        cfg.custom_hooks = [
            dict(type='repfusion_mm.TimeSamplerHook', interval=2), DEFER,
            *cfg.get('custom_hooks', [])[1:]]
        change(cfg)
        runner = Runner.from_cfg(cfg)
        for hook in hooks:
            runner.register_hook(hook, priority='VERY_LOW')
        runner.train()
        runs.append(runner)
        assert next(runner.model.parameters()).device.type == device
        losses = runner.message_hub.get_scalar('train/loss').data[0]
        assert all(torch.tensor(loss).isfinite() for loss in losses)
        return runner, list(losses)

    return run


def fast(device, **parts):
    """All switches of teacher and student."""
    return {'model.channels_last': True, 'model.compile': GRAPHS[device],
            'model.teacher.channels_last': True,
            'model.teacher.compile': GRAPHS[device], **parts}


@pytest.mark.parametrize('dtype, device', [
    pytest.param('float16', 'cuda', marks=pytest.mark.gpu),
    pytest.param('bfloat16', 'cuda', marks=pytest.mark.gpu),
    pytest.param('bfloat16', 'cpu', marks=pytest.mark.slow)],
    indirect=['device'])
def test_amp(train, device, dtype):
    """With the teacher in that type, too."""

    def wrapper(cfg):
        cfg.optim_wrapper.update(
            dict(type='AmpOptimWrapper', loss_scale='dynamic')
            if dtype == 'float16' else
            dict(type='repfusion_mm.BFloat16OptimWrapper'))

    switches = fast(device, **{'model.teacher.dtype': dtype})
    _, exact = train(REINFORCED, device)
    runner, losses = train(REINFORCED, device, change=wrapper, **switches)
    assert len(losses) == 4
    # the first one, before their ways part
    assert losses[0] == pytest.approx(exact[0], rel=0.05, abs=0.05)
    assert all(value.dtype == torch.float32
               for value in runner.model.state_dict().values()
               if value.is_floating_point())


@on_each
def test_switches(train, device):
    """All of them together train as none does."""
    _, wanted = train(REINFORCED, device, 6)
    runner, losses = train(REINFORCED, device, 6, **fast(device))
    assert losses[0] == pytest.approx(wanted[0], rel=0.01, abs=0.01)
    assert losses == pytest.approx(wanted, rel=0.1, abs=0.1)


class Watch(Hook):
    """Lets a step raise where the host waits for the GPU."""

    def __init__(self, device):
        self.mode = torch.cuda.set_sync_debug_mode if device == 'cuda' \
            else lambda mode: None
        self.steps = 0

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        # the first ones compile, and allocate
        if runner.iter >= 3:
            self.mode('error')
            self.steps += 1

    def after_train(self, runner):
        self.mode('default')


@on_each
def test_no_wait(train, device):
    """A whole `train_step`, from the batch to the optimizer."""
    watch = Watch(device)

    def unwatched(runner):
        # what comes after the step may log, which waits
        step = runner.model.train_step

        def train_step(*args, **kwargs):
            try:
                return step(*args, **kwargs)
            finally:
                watch.mode('default')

        runner.model.train_step = train_step

    start = type('Start', (Hook, ), dict(
        before_train=lambda self, runner: unwatched(runner)))()
    try:
        train(REINFORCED, device, 6, hooks=[watch, start])
    finally:
        watch.mode('default')
    assert watch.steps == 3


def joint(pipeline_folder, compile):
    """The classifier's config as a joint model's, with an EMA."""

    def change(cfg):
        cfg.custom_hooks.append(dict(type='EMAHook', momentum=0.1))
        cfg.model = dict(
            type='repfusion_mm.JointRepFusion', task=cfg.model,
            channels_last=True, compile=compile,
            teacher=dict(type='repfusion_mm.UNetTeacher', compile=compile,
                         pretrained=pipeline_folder),
            time_sampler=dict(type='repfusion_mm.UniformTime'),
            connections=[
                dict(student_tap=f'backbone.{tap}',
                     teacher_tap='mid_block.resnets.1',
                     loss=dict(type='repfusion_mm.HintLoss', pool=True))
                for tap in ('layer2', 'layer4')])

    return change


class Predictions(Hook):
    """The scores of each validation, and the weights they are of."""

    def __init__(self):
        self.scores, self.states = [], []

    def before_val_epoch(self, runner):
        self.scores.append([])
        self.states.append(copy.deepcopy(runner.model.state_dict()))

    def after_val_iter(self, runner, batch_idx, data_batch=None,
                       outputs=None):
        self.scores[-1] += [one.pred_score for one in outputs]


@on_each
def test_joint_validation(train, device, pipeline_folder, load_config, build):
    """Of a compiled student's EMA, in pieces, between training steps."""
    seen = Predictions()
    runner, _ = train(
        CLASSIFIER, device, 6, hooks=[seen],
        change=joint(pipeline_folder, GRAPHS[device]),
        **{'train_cfg.val_interval': 2})
    accuracies = runner.message_hub.get_scalar('val/accuracy/top1').data[0]
    assert len(accuracies) == len(seen.scores) == 3
    # as the plain model with these weights predicts, at the end
    cfg = load_config(CLASSIFIER)
    joint(pipeline_folder, False)(cfg)
    model = build(dict(cfg.model, data_preprocessor=cfg.data_preprocessor))
    model.to(device).eval()
    for scores, state in zip(seen.scores, seen.states):
        model.load_state_dict(state)
        with torch.no_grad():
            wanted = [one.pred_score for batch in runner.val_dataloader
                      for one in model.val_step(batch)]
        torch.testing.assert_close(torch.stack(scores), torch.stack(wanted),
                                   rtol=1e-2, atol=1e-2)
    assert not torch.allclose(torch.stack(seen.scores[0]),
                              torch.stack(seen.scores[2]), atol=1e-4)


@on_each
def test_resume(train, device, tmp_path):
    """With graphs and an EMA, which goes on where it was."""

    def ema(cfg):
        cfg.custom_hooks.append(dict(type='EMAHook', momentum=0.1))

    train(REINFORCED, device, 4, change=ema, **fast(device))
    saved = torch.load(tmp_path / 'iter_4.pth', map_location='cpu',
                       weights_only=False)
    found = {}

    class Start(Hook):

        def before_train_iter(self, runner, batch_idx, data_batch=None):
            ema = next(hook for hook in runner.hooks
                       if type(hook).__name__ == 'EMAHook').ema_model
            found.setdefault('ema', copy.deepcopy(ema.state_dict()))
            found.setdefault('iter', runner.iter)

    runner, losses = train(REINFORCED, device, 7, hooks=[Start()], change=ema,
                           resume=True, **fast(device))
    assert found['iter'] == 4 and runner.iter == 7
    assert any(key.startswith('module.backbone') for key in found['ema'])
    assert not any('teacher' in key for key in found['ema'])
    # EMAHook saves the averaged weights as the model's
    for key, value in saved['state_dict'].items():
        torch.testing.assert_close(found['ema'][f'module.{key}'].cpu(), value)


@on_each
def test_bank(train, device, tmp_path):
    """Filled in training; once full, drawn from the GPU's copy."""
    place = {'model.teacher.bank': str(tmp_path / 'bank')}
    runner, first = train(BANK, device, 3, **place)
    teacher = runner.model.teacher
    there = next(runner.model.parameters()).device
    assert teacher._bank.on(there) is None
    list(teacher.fill(200))
    runner, again = train(BANK, device, 3, **place)
    assert again == pytest.approx(first, rel=1e-3, abs=1e-4)
    kept = runner.model.teacher._bank._kept
    assert list(kept) == ([there] if device == 'cuda' else [])


@pytest.fixture
def one_process(device, tmp_path, monkeypatch):
    """A process group of one; what a config then says."""
    monkeypatch.setenv('LOCAL_RANK', '0')
    backend = dict(cuda='nccl', cpu='gloo')[device]
    torch.distributed.init_process_group(
        backend, init_method=f'file://{tmp_path}/store', rank=0, world_size=1)
    cfg = dict(launcher='pytorch')
    if device == 'cpu':  # which has no synchronised batch norm
        cfg['model_wrapper_cfg'] = dict(type='MMDistributedDataParallel',
                                        device_ids=None)
    else:
        cfg['sync_bn'] = 'torch'
    yield cfg
    with contextlib.suppress(ValueError):
        torch.distributed.destroy_process_group()


@on_each
def test_sync_bn(train, device, one_process):
    """One process of NCCL, with its batch norms synchronised."""
    runner, losses = train(REINFORCED, device, **one_process)
    assert len(losses) == 4 and is_model_wrapper(runner.model)
    norms = [type(module) for module in runner.model.module.backbone.modules()
             if 'BatchNorm' in type(module).__name__]
    assert norms and all((norm is SyncBatchNorm) == (device == 'cuda')
                         for norm in norms)
