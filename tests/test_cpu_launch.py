import pytest
import torch
from mmengine.config import Config

from repfusion_mm.cpu_launch import start_gloo_on_cpu


@pytest.fixture
def started(monkeypatch):
    """Backends of the process groups that were started."""
    backends = []
    monkeypatch.setattr(torch.distributed, 'init_process_group',
                        backends.append)
    return backends


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
