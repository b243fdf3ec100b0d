import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmengine.logging import MessageHub

from repfusion_mm.engine.optimizers import BFloat16OptimWrapper

REINFORCED = 'configs/demo/repfusion_resnet18_reinforced_digits.py'
SCRATCH = 'configs/demo/resnet18_scratch_digits.py'
DPM = 'configs/demo/dpm_unet_digits.py'


@pytest.fixture
def train(tool, root, monkeypatch):
    monkeypatch.chdir(root)
    monkeypatch.setenv('LOCAL_RANK', '0')  # the tool sets it otherwise
    return tool('train').main


@pytest.fixture
def small(tmp_path, pipeline_folder):
    """Command line of a short run in a work dir of its own."""

    def arguments(config, *options, iters=2):
        more = [f'model.teacher.pretrained={pipeline_folder}'] \
            if 'repfusion_resnet' in config else []
        return [config, '--work-dir', str(tmp_path), '--cfg-options',
                f'train_cfg.max_iters={iters}', 'param_scheduler=None',
                'train_dataloader.batch_size=8',
                f'default_hooks.checkpoint.interval={iters}',
                'default_hooks.logger.interval=1', *more, *options]

    return arguments


def log(runner):
    for handler in runner.logger.handlers:
        handler.flush()
    return ''.join(path.read_text() for path
                   in Path(runner.log_dir).glob('*.log'))


def test_stage_one(train, small, tmp_path):
    runner = train(small(REINFORCED))
    assert runner.iter == 2
    state = torch.load(tmp_path / 'iter_2.pth', weights_only=False)
    assert any(key.startswith('backbone.') for key in state['state_dict'])
    assert not any(key.startswith('teacher.') for key in state['state_dict'])
    assert (tmp_path / 'repfusion_resnet18_reinforced_digits.py').is_file()


def test_both_stages(train, small, tmp_path):
    train(small(REINFORCED))
    checkpoint = tmp_path / 'iter_2.pth'
    runner = train(small(
        'configs/demo/resnet18_repfusion_digits.py',
        f'model.backbone.init_cfg.checkpoint={checkpoint}',
        'train_cfg.val_interval=2', iters=1))
    assert runner.iter == 1


def test_resume(train, small):
    train(small(REINFORCED))
    runner = train([*small(REINFORCED, iters=3), '--resume'])
    assert runner.iter == 3
    assert 'resumed epoch: 0, iter: 2' in log(runner)


def test_resume_from_a_file(train, small, tmp_path):
    train(small(REINFORCED))
    (tmp_path / 'last_checkpoint').unlink()
    path = str(tmp_path / 'iter_2.pth')
    runner = train([*small(REINFORCED, iters=3), '--resume', path])
    assert runner.iter == 3
    assert 'resumed epoch: 0, iter: 2' in log(runner)


def test_validates(train, small):
    runner = train(small(SCRATCH, 'train_cfg.val_interval=2'))
    value = runner.message_hub.get_scalar('val/accuracy/top1').current()
    assert 0 <= value <= 100


def test_no_validate(train, small):
    runner = train(small(SCRATCH, 'train_cfg.val_interval=1') +
                   ['--no-validate'])
    assert runner.iter == 2
    assert 'accuracy' not in str(list(runner.message_hub.log_scalars))


def test_default_work_dir(tool, tmp_path):
    module = tool('train')
    args = module.parse_args(['some/where/my_config.py'])
    from mmengine.config import Config
    cfg = module.merge_args(Config(dict()), args)
    assert os.path.normpath(cfg.work_dir) == \
        os.path.join('work_dirs', 'my_config')


def first_losses(runner):
    return {name: scalar.data[0].tolist() for name, scalar
            in runner.message_hub.log_scalars.items() if 'loss' in name}


@pytest.mark.skipif(torch.cuda.is_available(), reason='there is a GPU')
@pytest.mark.parametrize('config', [DPM, REINFORCED, SCRATCH])
def test_amp_on_a_cpu(train, small, tmp_path, config):
    """bfloat16 is float32 with 8 bits, and what is kept is float32."""
    options = [*small(config, *['custom_hooks=[]'] * (config == DPM)),
               '--no-validate']
    wanted = first_losses(train(options))
    MessageHub._instance_dict.clear()
    runner = train([*options, '--amp'])
    assert isinstance(runner.optim_wrapper, BFloat16OptimWrapper)
    found = first_losses(runner)
    assert set(found) == set(wanted) and found != wanted
    for name, losses in found.items():
        assert losses == pytest.approx(wanted[name], rel=0.02, abs=5e-3), name
    state = torch.load(tmp_path / 'iter_2.pth', weights_only=False)
    assert torch.bfloat16 not in {value.dtype for value
                                  in state['state_dict'].values()}


def amp(tool, device, *options, **optim_wrapper):
    """The optimiser's config that --amp makes on a device."""
    from mmengine.config import Config
    module = tool('train')
    module.find_device = lambda: device
    cfg = Config(dict(optim_wrapper=dict(
        optimizer=dict(type='SGD', lr=0.1), **optim_wrapper)))
    module.merge_args(cfg, module.parse_args(['x.py', *options]))
    cfg.optim_wrapper.pop('optimizer')
    return dict(cfg.optim_wrapper)


HALF = dict(type='AmpOptimWrapper', loss_scale='dynamic')
BFLOAT16 = dict(type='repfusion_mm.BFloat16OptimWrapper')


@pytest.mark.parametrize('device, options, given, wanted', [
    ('cuda', ['--amp'], {}, HALF),
    ('cuda', ['--amp', '--amp-dtype', 'float16'], {}, HALF),
    ('cuda', ['--amp'], dict(loss_scale=512.), dict(HALF, loss_scale=512.)),
    ('cuda', ['--amp', '--amp-dtype', 'bfloat16'], {}, BFLOAT16),
    ('cuda', ['--amp-dtype', 'bfloat16'], dict(clip_grad=dict(max_norm=1.)),
     dict(BFLOAT16, clip_grad=dict(max_norm=1.))),
    ('cuda', ['--amp'], BFLOAT16, HALF),
    ('cpu', ['--amp'], dict(HALF, dtype='float16', use_fsdp=False), BFLOAT16),
    ('cpu', ['--amp', '--amp-dtype', 'bfloat16'], {}, BFLOAT16),
    ('cpu', [], HALF, HALF)])
def test_amp(tool, device, options, given, wanted):
    assert amp(tool, device, *options, **given) == wanted


def test_amp_refuses(tool):
    with pytest.raises(SystemExit, match='float16 needs a GPU.*bfloat16'):
        amp(tool, 'cpu', '--amp', '--amp-dtype', 'float16')
    with pytest.raises(SystemExit, match='`optim_wrapper.type`.*'
                       "'ApexOptimWrapper'.*AmpOptimWrapper"):
        amp(tool, 'cuda', '--amp', type='ApexOptimWrapper')


@pytest.mark.skipif(torch.cuda.is_available(), reason='there is a GPU')
def test_device(train, small):
    with pytest.raises(SystemExit, match='--device cuda, but torch'):
        train([*small(SCRATCH), '--device', 'cuda'])


def test_auto_scale_lr_without_base(train, small):
    with pytest.raises(SystemExit, match='auto-scale-lr needs.*'
                       'base_batch_size.*resnet18_scratch_digits.py'):
        train([*small(SCRATCH), '--auto-scale-lr'])


def test_auto_scale_lr(train, small, root, tmp_path):
    config = tmp_path / 'scaled.py'
    config.write_text(f'_base_ = {str(root / SCRATCH)!r}\n'
                      'auto_scale_lr = dict(base_batch_size=32)\n')
    runner = train([
        *small(str(config), 'optim_wrapper.optimizer.lr=0.04',
               'param_scheduler=None'), '--auto-scale-lr', '--no-validate'])
    # a batch of 8 where 32 was meant
    assert runner.optim_wrapper.get_lr()['lr'] == [pytest.approx(0.01)]


def two_processes(root, arguments):
    done = subprocess.run(
        [sys.executable, '-m', 'torch.distributed.run', '--standalone',
         '--nproc_per_node', '2', 'tools/train.py', *arguments, '--launcher',
         'pytorch'], cwd=root, text=True, capture_output=True, timeout=600,
        env={**os.environ, 'PYTHONPATH': str(root), 'OMP_NUM_THREADS': '1'})
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason='there is a GPU')
def test_sharded_optimizer(root, small, tmp_path):
    """ZeRO in two processes is AdamW in two."""
    found = []
    for name, options in (('whole', ['type=AdamW']), ('sharded', [
            'type=ZeroRedundancyOptimizer', 'optimizer_type=AdamW'])):
        two_processes(root, [*small(
            REINFORCED, 'default_hooks.checkpoint.save_optimizer=False',
            *(f'optim_wrapper.optimizer.{option}' for option in options),
            iters=3), '--work-dir', str(tmp_path / name)])
        found.append(torch.load(tmp_path / name / 'iter_3.pth',
                                weights_only=False)['state_dict'])
    torch.testing.assert_close(*found)


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason='there is a GPU')
def test_two_processes(root, small, tmp_path):
    two_processes(root, small(REINFORCED, iters=3))
    assert (tmp_path / 'iter_3.pth').is_file()
    log = next(tmp_path.glob('*/*.log')).read_text()
    assert 'Distributed launcher: pytorch' in log
    assert 'GPU number: 2' in log  # the number of processes
