"""The student's switches leave its losses and gradients what they were."""
import copy

import pytest
import torch
from mmengine.runner import Runner
from torch import _dynamo as dynamo
from torch._inductor import cudagraph_trees

EAGER = dict(backend='eager')
TAP = 'mid_block.resnets.1'
# a shortcut of fewer than 8 channels, channels-last, writes beside its memory
# on a CPU with AVX2 alone (oneDNN 3.10, `brgconv_strided`)
WIDTHS = dict(stem_channels=8, base_channels=8)
TASK = dict(
    type='mmpretrain.ImageClassifier',
    data_preprocessor=dict(mean=[127.5] * 3, std=[127.5] * 3),
    backbone=dict(type='ResNet_CIFAR', depth=18, **WIDTHS),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=10, in_channels=64))


@pytest.fixture
def batch(samples):
    return dict(inputs=torch.rand(4, 3, 16, 16) * 2 - 1,
                data_samples=samples([1, 2, -1, 4]))


@pytest.fixture(params=['RepFusion', 'JointRepFusion'])
def models(request, build, repfusion):
    """The same model with and without some switches."""

    def make(tap='layer4', **switches):
        cfg = repfusion()
        cfg['backbone'].update(WIDTHS)
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


class Graphs:
    """A backend that deals with its outputs' memory as CUDA graphs do.

    Where torch begins a new generation, what was computed in the last one is
    written over, but for what a backward pass is to come for.
    """

    def __init__(self):
        self.generation, self.outputs = None, []

    def __call__(self, graph, inputs, mode=None):

        def run(*args):
            now = cudagraph_trees.CUDAGraphTreeManager.get_curr_generation()
            if now != self.generation:
                for output in self.outputs:
                    output.detach().fill_(torch.nan)
                self.outputs = []
            self.generation = now
            outputs = graph.forward(*args)
            self.outputs += [one for one in outputs if not one.requires_grad]
            return outputs

        return run


@pytest.fixture
def graphs():
    """``compile`` of the kind that CUDA graphs come with."""
    yield dict(backend=Graphs(), mode='reduce-overhead')
    cudagraph_trees.MarkStepBox.mark_step_counter = 0


def test_graphs_in_evaluation(models, batch, graphs):
    """A piece does not take back the memory that its input lies in."""
    plain, fast = (model.eval() for model in models(compile=graphs))
    images = [batch['inputs'], batch['inputs'].flip(0) / 2]
    with torch.no_grad():
        wanted = [plain(one) for one in images]
        got = [fast(one) for one in images]  # of both steps, at the end
        torch.testing.assert_close(got, wanted)
        # nor where it is asked for its features alone, twice in a step
        one = fast.extract_feat if hasattr(fast, 'extract_feat') else \
            fast.backbone
        first, second = one(images[0]), one(images[1])
        assert first[-1].isfinite().all() and second[-1].isfinite().all()
        if hasattr(fast, 'head'):
            samples = fast(**batch, mode='predict')
            assert all(sample.pred_score.isfinite().all()
                       for sample in samples)


def test_graphs_behind_frozen_stages(models, batch, graphs):
    plain, fast = models(compile=graphs)
    for model in (plain, fast):
        model.backbone.frozen_stages = 2
        model.backbone._freeze_stages()
    for _ in range(2):
        wanted, got = step(plain, batch), step(fast, batch)
        torch.testing.assert_close(dict(got), dict(wanted), rtol=1e-4,
                                   atol=1e-5)


def test_graphs_are_told_of_each_step(models, batch, graphs, monkeypatch):
    """Once, before anything of the step runs, whatever the step is."""
    marks = []
    monkeypatch.setattr(torch.compiler, 'cudagraph_mark_step_begin',
                        lambda: marks.append(1), raising=False)
    plain, fast = models(compile=graphs)
    fast.teacher.register_forward_pre_hook(
        lambda *_: marks.append('teacher'))
    for model, wanted in ((plain, []), (fast, [1]),
                          (copy.deepcopy(fast), [1])):
        marks.clear()
        step(model, batch)
        assert [one for one in marks if one == 1] == wanted
        assert marks[:1] == wanted
        with torch.no_grad():
            model.eval()(batch['inputs'])
        assert [one for one in marks if one == 1] == 2 * wanted


@pytest.mark.parametrize('compile, refused', [
    (dict(mode='reduce-overhead'), True), (EAGER, False)], ids=str)
def test_accumulation(load_config, compile, refused):
    cfg = load_config('configs/demo/repfusion_resnet18_fixed_digits.py', **{
        'model.compile': compile, 'optim_wrapper.accumulative_counts': 2})
    runner = Runner.from_cfg(cfg)
    if not refused:
        return runner.train()
    with pytest.raises(ValueError, match=(
            '`optim_wrapper.accumulative_counts` is 2, but `model.compile`')):
        runner.train()
    assert runner.iter == 0


@pytest.mark.slow
def test_inductor(models, batch):
    plain, fast = models(channels_last=True, compile=True)
    wanted, got = step(plain, batch), step(fast, batch)
    for name in wanted:
        torch.testing.assert_close(got[name], wanted[name], rtol=1e-3,
                                   atol=1e-4, msg=name)


@pytest.mark.parametrize('device', [
    pytest.param('cpu', marks=pytest.mark.slow),  # rehearsed, without graphs
    pytest.param('cuda', marks=pytest.mark.gpu)])
def test_cuda_graphs(models, batch, device, monkeypatch):
    """Training, evaluation, and training again."""
    monkeypatch.setattr(torch.backends.cudnn, 'allow_tf32', False)
    plain, fast = models(channels_last=True, compile=dict(
        mode='reduce-overhead') if device == 'cuda' else dict(
            backend='aot_eager'))
    network = plain.teacher.denoiser
    assert fast.teacher.denoiser is network
    fast = fast.to(device)
    assert plain.teacher.denoiser is network
    plain = plain.to(device)  # where one seed draws the same t
    data = dict(inputs=batch['inputs'].to(device), data_samples=[
        sample.to(device) for sample in batch['data_samples']])
    for _ in range(2):
        for _ in range(4):  # warm-up, recording, replays
            wanted, got = step(plain.train(), data), step(fast.train(), data)
            torch.testing.assert_close(dict(got), dict(wanted), rtol=1e-3,
                                       atol=1e-4)
            gradients = dict(plain.named_parameters())
            for name, weight in fast.named_parameters():
                if weight.grad is not None:
                    torch.testing.assert_close(
                        weight.grad, gradients[name].grad, rtol=1e-2,
                        atol=1e-4, msg=name)
        with torch.no_grad():
            images = [data['inputs'], data['inputs'].flip(0) / 2]
            wanted = [plain.eval()(one) for one in images]
            torch.testing.assert_close(
                [fast.eval()(one) for one in images], wanted, rtol=1e-3,
                atol=1e-4)
