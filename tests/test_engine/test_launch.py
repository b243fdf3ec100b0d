import os
import subprocess
import sys
import warnings
from datetime import timedelta
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config

from repfusion_mm.engine import launch
from repfusion_mm.engine.launch import (
    distributed_timeout,
    find_device,
    pin_for_gpus_only,
    start_gloo_on_cpu,
)

SMI = '#!/bin/sh\necho "NVIDIA H100 80GB HBM3, 535.104.05"\n'
TOO_OLD = ('The NVIDIA driver on your system is too old (found version '
           '12020).\nPlease update it.')


@pytest.fixture
def started(monkeypatch):
    """Backends of the process groups that were started."""
    backends = []
    monkeypatch.setattr(torch.distributed, 'init_process_group',
                        lambda backend, timeout: backends.append(backend))
    return backends


@pytest.mark.parametrize('given, wanted', [
    ({}, None), (dict(env_cfg=dict(dist_cfg=dict(timeout=90))),
                 timedelta(seconds=90))])
def test_timeout(given, wanted):
    assert distributed_timeout(given) == wanted


@pytest.mark.skipif(torch.cuda.is_available(), reason='there is a GPU')
@pytest.mark.parametrize('given', [{}, dict(model_wrapper_cfg=dict(
    type='MMDistributedDataParallel', broadcast_buffers=True))])
def test_on_a_cpu(started, given):
    cfg = Config(dict(launcher='pytorch', find_unused_parameters=True,
                      **given))
    start_gloo_on_cpu(cfg)
    assert started == ['gloo']
    assert cfg.model_wrapper_cfg.device_ids is None
    assert cfg.model_wrapper_cfg.type == 'MMDistributedDataParallel'
    assert cfg.model_wrapper_cfg.find_unused_parameters is True
    assert cfg.model_wrapper_cfg.broadcast_buffers is bool(given)


@pytest.mark.parametrize('launcher', ['none', 'slurm'])
def test_nothing_to_do(started, launcher):
    cfg = Config(dict(launcher=launcher))
    start_gloo_on_cpu(cfg)
    assert started == []
    assert 'model_wrapper_cfg' not in cfg


def test_with_a_gpu(started, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    start_gloo_on_cpu(Config(dict(launcher='pytorch')))
    assert started == []


@pytest.mark.skipif(torch.cuda.is_available(), reason='there is a GPU')
def test_sync_bn_needs_a_gpu(started):
    cfg = Config(dict(launcher='pytorch', sync_bn='torch'))
    with pytest.raises(ValueError, match="`sync_bn` is 'torch'.*need GPUs"):
        start_gloo_on_cpu(cfg)
    assert started == []
    cfg.merge_from_dict(dict(sync_bn=None))
    start_gloo_on_cpu(cfg)
    assert started == ['gloo']


@pytest.mark.parametrize('gpu', [True, False])
def test_memory_is_pinned_for_a_gpu(monkeypatch, gpu):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: gpu)
    loader = dict(batch_size=2, pin_memory=True)
    cfg = Config(dict(train_dataloader=loader, val_dataloader=None))
    pin_for_gpus_only(cfg)
    assert cfg.train_dataloader.get('pin_memory', False) is gpu
    assert cfg.train_dataloader.batch_size == 2


class Machine:
    """A machine whose GPU torch does not find, as far as it is looked at."""

    def __init__(self, monkeypatch, bin):
        self.monkeypatch, self.bin, self.slept = monkeypatch, bin, []
        monkeypatch.setenv('PATH', str(bin))
        for name in ('CUDA_VISIBLE_DEVICES', 'LOCAL_RANK', 'SLURM_LOCALID'):
            monkeypatch.setenv(name, 'x')  # is put back afterwards
            monkeypatch.delenv(name)
        monkeypatch.setattr(launch, 'KERNEL_MODULE', bin / 'version')
        self.nodes([])
        monkeypatch.setattr(launch, 'time',
                            SimpleNamespace(sleep=self.slept.append))
        monkeypatch.setattr('mmengine.device.get_device', lambda: 'cpu')
        self.torch('13.0')

    def torch(self, built_for):
        self.monkeypatch.setattr(torch.version, 'cuda', built_for)

        def init():
            raise RuntimeError(TOO_OLD)

        self.monkeypatch.setattr(torch.cuda, 'init', init)

    def has_smi(self, script=SMI):
        (self.bin / 'nvidia-smi').write_text(script)
        (self.bin / 'nvidia-smi').chmod(0o755)

    def has_node(self):
        self.nodes(['/dev/nvidia0'])

    def nodes(self, paths):
        self.monkeypatch.setattr(launch, 'glob', SimpleNamespace(
            glob=lambda pattern: paths if 'nvidia' in pattern else []))


@pytest.fixture
def machine(monkeypatch, tmp_path):
    return Machine(monkeypatch, tmp_path)


@pytest.mark.parametrize('how', ['has_smi', 'has_node'])
def test_a_gpu_that_torch_does_not_find(machine, how):
    getattr(machine, how)()
    with pytest.raises(SystemExit) as stopped:
        find_device()
    text = str(stopped.value)
    assert '\n' not in text
    assert ('H100 80GB HBM3, driver 535.104.05' if how == 'has_smi' else
            '/dev/nvidia0') in text
    for part in (torch.__version__, 'CUDA 13.0', 'found version 12020',
                 'pytorch.org/get-started', '`--device cpu`',
                 'CUDA_VISIBLE_DEVICES=-1'):
        assert part in text
    assert not machine.slept


def test_a_torch_without_cuda(machine):
    machine.has_node()
    machine.torch(None)
    with pytest.raises(SystemExit, match='/dev/nvidia0.*built without CUDA.*'
                       '--device cpu'):
        find_device()


def test_one_of_many_says_so(machine, monkeypatch):
    machine.has_smi()
    monkeypatch.setenv('LOCAL_RANK', '3')
    with pytest.raises(SystemExit):
        find_device()
    assert len(machine.slept) == 1  # in which the first one ends them all


@pytest.mark.parametrize('visible', ['', '-1', 'NoDevFiles', None])
def test_the_cpu_is_meant(machine, monkeypatch, visible):
    machine.has_smi()
    if visible is not None:
        monkeypatch.setenv('CUDA_VISIBLE_DEVICES', visible)
    assert find_device(None if visible is not None else 'cpu') == 'cpu'
    if visible is None:
        assert os.environ['CUDA_VISIBLE_DEVICES'] == '-1'
        assert find_device() == 'cpu'  # asked again


def test_a_gpu_that_is_not_there_is_made_visible(machine, monkeypatch):
    machine.has_smi()
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '7')
    with pytest.raises(SystemExit, match="CUDA_VISIBLE_DEVICES is '7'"):
        find_device()


@pytest.mark.parametrize('script', [
    None, '#!/bin/sh\necho "has failed because ..."\nexit 9\n',
    '#!/bin/sh\necho "No devices were found"\n'])
def test_no_gpu(machine, script):
    """Nor on the login node of a cluster, which has the program."""
    if script:
        machine.has_smi(script)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert find_device() == 'cpu'


def test_a_container_without_the_gpus(machine):
    launch.KERNEL_MODULE.write_text('NVRM version: ...')
    with pytest.warns(UserWarning, match='--gpus all'):
        assert find_device() == 'cpu'


@pytest.mark.parametrize('there', [True, False])
def test_asks_for_a_gpu(machine, there):
    if there:
        machine.has_smi()
    with pytest.raises(SystemExit, match='--device cuda, but.*finds none: '
                       'The NVIDIA driver') as stopped:
        find_device('cuda')
    assert ('install a newer one' in str(stopped.value)) is there


def test_asks_for_the_cpu_too_late(machine, monkeypatch):
    monkeypatch.setattr('mmengine.device.get_device', lambda: 'cuda')
    with pytest.raises(SystemExit, match="--device cpu.*has taken 'cuda'"):
        find_device('cpu')
    assert find_device('cuda') == find_device() == 'cuda'


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason='there is a GPU')
@pytest.mark.parametrize('script', ['train', 'test'])
def test_two_processes_one_message(root, tmp_path, script):
    (tmp_path / 'nvidia-smi').write_text(SMI)
    (tmp_path / 'nvidia-smi').chmod(0o755)
    done = subprocess.run(
        [sys.executable, '-m', 'torch.distributed.run', '--standalone',
         '--nproc_per_node', '2', f'tools/{script}.py',
         'configs/demo/resnet18_scratch_digits.py',
         *(['setup.py'] if script == 'test' else []),  # a file, never read
         '--launcher', 'pytorch'],
        cwd=root, text=True, capture_output=True, timeout=300,
        env={**os.environ, 'PYTHONPATH': str(root), 'OMP_NUM_THREADS': '1',
             'PATH': f'{tmp_path}:{os.environ["PATH"]}'})
    assert done.returncode
    assert done.stderr.count('there is a GPU (NVIDIA H100') == 1, done.stderr
