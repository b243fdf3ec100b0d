import copy
import logging

import numpy as np
import pytest
import torch
from mmengine.logging import MMLogger
from mmengine.optim import OptimWrapper, build_optim_wrapper
from torch import nn

from repfusion_mm.engine.optimizers import (
    BFloat16OptimWrapper,
    bfloat16_optim_wrapper,
)

OURS = 'repfusion_mm.BFloat16OptimWrapper'


@pytest.fixture
def network():
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(),
                         nn.Flatten(), nn.Linear(8 * 36, 4))


@pytest.fixture
def batches():
    return [(torch.rand(6, 3, 8, 8), torch.randint(4, (6, )))
            for _ in range(4)]


def train(network, batches, **cfg):
    """Losses of a training by MMEngine's rules."""
    wrapper = build_optim_wrapper(network, dict(
        type=OURS, optimizer=dict(type='SGD', lr=0.1, momentum=0.9), **cfg))
    wrapper.initialize_count_status(network, 0, len(batches))
    losses = []
    for inputs, labels in batches:
        with wrapper.optim_context(network):
            scores = network(inputs)
            losses.append(nn.functional.cross_entropy(scores, labels))
        wrapper.update_params(losses[-1])
    assert scores.dtype == torch.bfloat16
    return torch.stack(losses), wrapper


@pytest.mark.parametrize('accumulated', [1, 2])
def test_as_torch_does_it(network, batches, accumulated):
    plain = copy.deepcopy(network)
    losses, wrapper = train(network, batches,
                            accumulative_counts=accumulated)
    optimizer = torch.optim.SGD(plain.parameters(), lr=0.1, momentum=0.9)
    for step, (inputs, labels) in enumerate(batches):
        with torch.autocast('cpu', torch.bfloat16):
            loss = nn.functional.cross_entropy(plain(inputs), labels)
        assert loss == losses[step]
        (loss / accumulated).backward()
        if (step + 1) % accumulated == 0:
            optimizer.step()
            optimizer.zero_grad()
    for ours, theirs in zip(network.parameters(), plain.parameters()):
        assert torch.equal(ours, theirs)
        assert ours.dtype == torch.float32
    state = wrapper.state_dict()
    assert set(state) == {'state', 'param_groups'}
    assert all(one['momentum_buffer'].dtype == torch.float32
               for one in state['state'].values())


def test_goes_on_from_another_wrapper(network, batches):
    """Also from AmpOptimWrapper's state, which has a loss scale."""
    wrapper = train(network, batches)[1]
    state = dict(wrapper.state_dict(), loss_scaler=dict(scale=65536.))
    fresh = build_optim_wrapper(network, dict(
        type=OURS, optimizer=dict(type='SGD', lr=0.1, momentum=0.9)))
    fresh.load_state_dict(state)
    for one in network.parameters():
        assert torch.equal(fresh.optimizer.state[one]['momentum_buffer'],
                           wrapper.optimizer.state[one]['momentum_buffer'])


def test_numpy_has_no_bfloat16(network):
    """mmpose's heads count their hits in NumPy."""
    wrapper = BFloat16OptimWrapper(
        optimizer=torch.optim.SGD(network.parameters(), lr=0.1))
    values = torch.tensor([1.5, -2.], dtype=torch.bfloat16)
    with pytest.raises(ValueError), wrapper.optim_context(network):
        assert values.numpy().tolist() == [1.5, -2]
        assert np.asarray(values).dtype == np.float32
        assert torch.ones(2, dtype=torch.long).numpy().dtype == np.int64
        raise ValueError
    with pytest.raises(TypeError):
        values.numpy()


def test_layers_rates_of_the_task(build, pipeline_folder):
    """Built by the constructor of joint models."""
    model = build(dict(
        type='repfusion_mm.JointRepFusion',
        task=dict(
            type='mmpretrain.ImageClassifier',
            backbone=dict(type='ResNet_CIFAR', depth=18, stem_channels=4,
                          base_channels=4),
            neck=dict(type='GlobalAveragePooling'),
            head=dict(type='LinearClsHead', num_classes=3, in_channels=32)),
        teacher=dict(type='repfusion_mm.UNetTeacher',
                     pretrained=pipeline_folder),
        time_sampler=dict(type='repfusion_mm.UniformTime'),
        connections=[dict(student_tap='backbone.layer4',
                          teacher_tap='mid_block.resnets.1',
                          loss=dict(type='repfusion_mm.HintLoss'))]))
    wrapper = build_optim_wrapper(model, dict(
        type=OURS, optimizer=dict(type='SGD', lr=0.1, weight_decay=0.1),
        constructor='repfusion_mm.TaskOptimWrapperConstructor',
        paramwise_cfg=dict(
            task_constructor='mmengine.DefaultOptimWrapperConstructor',
            norm_decay_mult=0.)))
    assert type(wrapper) is BFloat16OptimWrapper
    held = [one for group in wrapper.optimizer.param_groups
            for one in group['params']]
    assert len(held) == sum(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize('flags, slow', [
    ('fpu avx512_bf16 sse', False), ('amx_bf16', False),
    ('asimd bf16', False), ('fpu avx512_bf16_not avx2', True)])
def test_slow_cpu(network, batches, monkeypatch, tmp_path, flags, slow):
    logger, said = MMLogger.get_instance('test'), []
    monkeypatch.setattr(logger, 'log',
                        lambda level, text: said.append((level, text)))
    cpu = tmp_path / 'cpuinfo'
    cpu.write_text(f'flags\t\t: {flags}\n')
    monkeypatch.setattr(bfloat16_optim_wrapper, 'CPUINFO', cpu)
    train(network, batches)
    said = [text for level, text in said if level == logging.WARNING]
    assert len([one for one in said if 'slower' in one]) == slow  # once


def test_gpu_without_bfloat16(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_bf16_supported', lambda: False)
    monkeypatch.setattr(torch.cuda, 'get_device_name', lambda: 'Tesla V100')
    with pytest.raises(RuntimeError, match='V100 has no bfloat16.*'
                       'AmpOptimWrapper'):
        bfloat16_optim_wrapper._check('cuda')


@pytest.mark.gpu
def test_on_a_gpu(build, repfusion, samples):
    """Stage 1 in bfloat16 is what it is in float32, to its rounding."""
    found = []
    for cls in (OptimWrapper, BFloat16OptimWrapper):
        torch.manual_seed(0)
        model = build(repfusion()).cuda()
        model.init_weights()
        wrapper = cls(optimizer=torch.optim.SGD(model.parameters(), lr=0.1))
        torch.manual_seed(0)
        log = model.train_step(dict(
            inputs=[torch.rand(3, 16, 16) * 255 for _ in range(4)],
            data_samples=samples([1, 2, -1, 4])), wrapper)
        found.append(float(log['loss_feature']))
        assert all(p.dtype == torch.float32 for p in model.parameters())
    assert found[0] == pytest.approx(found[1], rel=0.02)
