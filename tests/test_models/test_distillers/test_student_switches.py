"""The student's switches leave its losses and gradients what they were."""
import copy

import pytest
import torch
from torch import _dynamo as dynamo

EAGER = dict(backend='eager')
TAP = 'mid_block.resnets.1'
TASK = dict(
    type='mmpretrain.ImageClassifier',
    data_preprocessor=dict(mean=[127.5] * 3, std=[127.5] * 3),
    backbone=dict(type='ResNet_CIFAR', depth=18, stem_channels=4,
                  base_channels=4),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=10, in_channels=32))


@pytest.fixture
def batch(samples):
    return dict(inputs=torch.rand(4, 3, 16, 16) * 2 - 1,
                data_samples=samples([1, 2, -1, 4]))


@pytest.fixture(params=['RepFusion', 'JointRepFusion'])
def models(request, build, repfusion):
    """The same model with and without some switches."""

    def make(tap='layer4', **switches):
        cfg = repfusion()
        if request.param == 'JointRepFusion':
            del cfg['backbone'], cfg['data_preprocessor']
            cfg.update(type='repfusion_mm.JointRepFusion', task=TASK)
            tap = f'backbone.{tap}' if tap != 'out.0' else tap
        cfg['connections'][0]['student_tap'] = tap
        plain = build(cfg)
        plain.init_weights()
        fast = build(dict(cfg, **switches))
        fast.load_state_dict(plain.state_dict())
        fast.init_weights = None
        fast.teacher._frozen = plain.teacher._frozen
        return plain.train(), fast.train()

    return make


def step(model, batch):
    torch.manual_seed(3)
    loss, log = model.parse_losses(model(**batch, mode='loss'))
    model.zero_grad()
    loss.backward()
    return log


@pytest.mark.parametrize('tap', ['layer4', 'layer2.0.conv2', 'out.0'])
@pytest.mark.parametrize('switches', [
    dict(channels_last=True), dict(compile=EAGER),
    dict(channels_last=True, compile=dict(backend='aot_eager'))], ids=str)
def test_same_step(models, batch, tap, switches):
    plain, fast = models(tap, **switches)
    for _ in range(2):
        wanted, got = step(plain, batch), step(fast, batch)
        assert list(got) == list(wanted)
        for name in wanted:
            torch.testing.assert_close(got[name], wanted[name], rtol=1e-4,
                                       atol=1e-5, msg=name)
    gradients = dict(plain.named_parameters())
    for name, weight in fast.named_parameters():
        if gradients[name].grad is not None:
            torch.testing.assert_close(
                weight.grad, gradients[name].grad, rtol=1e-3, atol=1e-5,
                msg=name)
    for name, value in plain.state_dict().items():  # running statistics
        torch.testing.assert_close(fast.state_dict()[name], value, rtol=1e-4,
                                   atol=1e-5)


def test_formats(models, batch):
    _, fast = models(channels_last=True)
    student = fast.backbone
    assert student.conv1.weight.is_contiguous(
        memory_format=torch.channels_last)
    seen = []
    student.layer4.register_forward_hook(
        lambda module, args, output: seen.append(output))
    step(fast, batch)
    assert seen[0].is_contiguous(memory_format=torch.channels_last)
    assert not seen[0].is_contiguous()


def test_no_graph_break(models, batch):
    """Of the paper's student; each stage is one graph."""
    _, fast = models(compile=EAGER)
    student = copy.deepcopy(fast.backbone)
    pieces = [name for name, module in student.named_modules()
              if 'forward' in vars(module)]
    assert set(pieces) >= {'layer1', 'layer2', 'layer3', 'layer4'}
    images = batch['inputs']
    for module in student.modules():
        vars(module).pop('forward', None)
    report = dynamo.explain(student)(images)
    assert report.graph_break_count == 0


def test_wrong_switch(models):
    with pytest.raises(ValueError, match="`compile` has no 'mdoe'"):
        models(compile=dict(mdoe='default'))


@pytest.mark.slow
def test_inductor(models, batch):
    plain, fast = models(channels_last=True, compile=True)
    wanted, got = step(plain, batch), step(fast, batch)
    for name in wanted:
        torch.testing.assert_close(got[name], wanted[name], rtol=1e-3,
                                   atol=1e-4, msg=name)


@pytest.mark.gpu
def test_cuda_graphs(models, batch):
    plain, fast = models(channels_last=True,
                         compile=dict(mode='reduce-overhead'))
    fast = fast.cuda()
    wanted = step(plain, batch)
    data = dict(inputs=batch['inputs'].cuda(),
                data_samples=[one.cuda() for one in batch['data_samples']])
    for _ in range(3):
        got = step(fast, data)
    assert got['loss_feature'].isfinite()
    assert abs(got['loss_feature'].item() - wanted['loss_feature'].item()) \
        < 0.05 * abs(wanted['loss_feature'].item())
