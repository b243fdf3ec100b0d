"""That a step does not wait for the GPU, shown without one."""
import copy
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from mmengine.model import ImgDataPreprocessor
from mmengine.runner import Runner
from mmengine.utils import digit_version
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    FakeTensor,
    FakeTensorMode,
)
from torch.overrides import _get_current_function_mode_stack
from torch.utils._python_dispatch import (
    TorchDispatchMode,
    _disable_current_modes,
)
from torch.utils._pytree import tree_flatten

from repfusion_mm.engine.hooks import TimeSamplerHook
from repfusion_mm.models.distillers.mix_apart import MixApart
from repfusion_mm.models.utils.without_waiting import without_waiting

REINFORCED = 'configs/demo/repfusion_resnet18_reinforced_digits.py'
TAP = 'mid_block.resnets.1'


class Event:
    """A CUDA event whose GPU is always behind."""

    def record(self):
        pass

    def query(self):
        return False


class Host(TorchDispatchMode):
    """Really computes what concerns no GPU, though a fake one is there."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        to_gpu = torch.device(kwargs.get('device') or 'cpu').type == 'cuda'
        if to_gpu or any(isinstance(one, FakeTensor)
                         for one in tree_flatten((args, kwargs))[0]):
            return func(*args, **kwargs)
        with _disable_current_modes():
            return func(*args, **kwargs)


class BlockingCopies(TorchDispatchMode):
    """Refuses copies to the GPU that the host would wait for."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs, aten = kwargs or {}, torch.ops.aten
        host = not any(on_gpu(one) for one in args)
        if func is aten._to_copy.default and host and \
                torch.device(kwargs.get('device') or 'cpu').type == 'cuda':
            assert kwargs.get('non_blocking'), 'a copy that is waited for'
        if func is aten.copy_.default and on_gpu(args[0]):
            assert on_gpu(args[1]) or args[2:], 'a copy that is waited for'
        if func in (aten.index.Tensor, aten.index_put_.default) and \
                on_gpu(args[0]):
            assert all(one is None or on_gpu(one) or not one.dim()
                       for one in args[1]), 'an index that is waited for'
        return func(*args, **kwargs)


def on_gpu(value):
    return isinstance(value, torch.Tensor) and value.device.type == 'cuda'


class Forward:
    """An optimiser without the backward pass, which is no fake GPU's."""

    def optim_context(self, model):
        return nullcontext()

    def update_params(self, loss):
        self.loss = loss


@pytest.fixture
def gpu(monkeypatch):
    """A GPU that computes shapes only: reading a value from it raises."""
    if digit_version(torch.__version__) < digit_version('2.2'):
        pytest.skip('this torch asks a driver for a GPU that is not there')
    monkeypatch.setattr(torch.cuda, 'Event', Event)
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    with FakeTensorMode(allow_non_fake_inputs=True), Host():
        yield torch.device('cuda')
    torch.__future__.set_overwrite_module_params_on_conversion(False)


@pytest.fixture
def prepared(build, repfusion, request):
    """A model with its weights, on the CPU still."""
    module = build(repfusion(**request.param))
    module.init_weights()
    return module.train()


def reward(name, **cfg):
    return dict(type=f'repfusion_mm.{name}', **cfg)


LOSSES = [dict(type=f'repfusion_mm.{name}') for name in (
    'HintLoss', 'CosineLoss', 'AttentionTransferLoss', 'RelationalLoss',
    'InfoNCELoss', 'AttentiveFeatureLoss', 'CKALoss')]


@pytest.mark.parametrize('prepared', [
    dict(),
    dict(time_sampler=dict(type='repfusion_mm.UniformTime'), reward=None),
    dict(time_sampler=dict(type='repfusion_mm.FixedTime'), reward=None,
         channels_last=True),
    dict(reward=reward('ClassificationReward', num_classes=10,
                       multi_label=True)),
    dict(reward=reward('LeastSquaresReward', num_classes=10)),
    dict(reward=reward('ContrastiveReward')),
    *(dict(connections=[dict(student_tap='layer4', teacher_tap=TAP,
                             loss=loss)]) for loss in LOSSES),
], ids=lambda parts: '-'.join(
    str(part.get('type') if isinstance(part, dict) else part)
    if key != 'connections' else part[0]['loss']['type']
    for key, part in parts.items()) or 'default', indirect=True)
def test_no_wait(prepared, samples, gpu):
    """A whole step from the host's batch on, and the hook's counts."""
    model = prepared.to(gpu)
    model.unlogged = []
    hook, runner = TimeSamplerHook(), type('', (), dict(model=model, iter=3))
    hook._counts = torch.zeros(20, dtype=torch.float64, device=gpu)
    hook._sum = torch.zeros_like(hook._counts[0])
    wrapper = Forward()
    for inputs in (torch.zeros(4, 3, 16, 16), [torch.zeros(3, 16, 16)] * 4):
        batch = dict(inputs=inputs, data_samples=samples([1, 2, -1, 4]))
        with BlockingCopies():
            assert not model.train_step(batch, wrapper)
        hook.after_train_iter(runner, 3)
        assert wrapper.loss.device.type == 'cuda'
    assert len(model.unlogged) == 2
    with pytest.raises(DataDependentOutputException):  # it would be seen
        wrapper.loss.item()


@pytest.fixture
def preprocessor(request):
    """One of each library's that swaps channels, with a batch for it."""
    library, size = request.param, (3, 16, 16)
    options = dict(mean=[127.5] * 3, std=[127.5] * 3)
    batch = dict(inputs=[torch.arange(768, dtype=torch.uint8).view(size)] * 2)
    if library == 'mmengine':
        return ImgDataPreprocessor(**options, bgr_to_rgb=True), batch
    if library == 'mmpretrain':
        from mmpretrain.models import ClsDataPreprocessor
        from mmpretrain.structures import DataSample
        return ClsDataPreprocessor(
            **options, to_rgb=True, num_classes=3,
            batch_augments=dict(augments=[dict(type='Mixup', alpha=1.)])), \
            dict(batch, data_samples=[DataSample().set_gt_label(1),
                                      DataSample().set_gt_label(2)])
    pytest.importorskip(library)
    if library == 'mmseg':
        from mmengine.structures import PixelData
        from mmseg.models import SegDataPreProcessor
        from mmseg.structures import SegDataSample
        mask = PixelData(data=torch.ones(1, 16, 16, dtype=torch.long))
        return SegDataPreProcessor(**options, bgr_to_rgb=True, size=(16, 16)),\
            dict(batch, data_samples=[
                SegDataSample(gt_sem_seg=mask.clone(),
                              metainfo=dict(img_shape=(16, 16)))
                for _ in range(2)])
    from mmengine.structures import InstanceData
    from mmpose.models import PoseDataPreprocessor
    from mmpose.structures import PoseDataSample
    return PoseDataPreprocessor(**options, bgr_to_rgb=True), dict(
        batch, data_samples=[PoseDataSample(gt_instance_labels=InstanceData(
            keypoint_weights=torch.ones(1, 5))) for _ in range(2)])


def run(preprocessor, batch):
    """What a preprocessor makes of a batch, from the same random state."""
    batch = copy.deepcopy(batch)
    torch.manual_seed(0)
    np.random.seed(0)
    return preprocessor(batch, True)


@pytest.mark.parametrize('preprocessor', [
    'mmengine', 'mmpretrain', 'mmseg', 'mmpose'], indirect=True)
def test_no_wait_for_a_batch(preprocessor, gpu):
    module, batch = preprocessor
    module.to(gpu)
    with pytest.raises(AssertionError, match='is waited for'), \
            BlockingCopies():
        run(module, batch)
    without_waiting(module)
    with BlockingCopies():
        done = run(module, batch)
    assert done['inputs'].device.type == 'cuda'
    assert done['inputs'].dtype == torch.float32


@pytest.mark.parametrize('preprocessor', [
    'mmengine', 'mmpretrain', 'mmseg', 'mmpose'], indirect=True)
def test_same_batch(preprocessor, monkeypatch):
    module, batch = preprocessor
    wanted = run(module, batch)
    without_waiting(module)
    monkeypatch.setattr('repfusion_mm.models.utils.without_waiting._on_gpu',
                        lambda preprocessor: True)
    done = run(module, batch)
    assert torch.equal(done['inputs'], wanted['inputs'])
    with pytest.raises(TypeError):
        module(None, True)
    assert not _get_current_function_mode_stack()


def test_no_wait_of_a_dpm(build, tiny, gpu):
    model = build(dict(type='repfusion_mm.DPM', denoiser=tiny)).to(gpu)
    wrapper, batch = Forward(), dict(inputs=[torch.zeros(3, 16, 16)] * 4)
    model.parse_losses = lambda losses: (losses['loss_noise'], {})
    model.train_step(dict(batch), wrapper)  # sends the noise schedule, once
    with BlockingCopies():
        model.train_step(dict(batch), wrapper)
    assert wrapper.loss.device.type == 'cuda'


@pytest.mark.parametrize('prepared', [dict()], indirect=True)
def test_fake_gpu_notices(prepared, samples, gpu):
    """One that reads the labels, as this did before, is caught."""
    model = prepared.to(gpu)
    labels = [sample.to(gpu) for sample in samples([1, 2, -1, 4])]
    model.finite.check = lambda losses: bool(
        sum(losses.values()).isfinite())
    with pytest.raises(DataDependentOutputException):
        model(torch.zeros(4, 3, 16, 16, device=gpu), labels, mode='loss')


@pytest.fixture
def checked(joint, samples):
    """Samples that were looked at on the host, as by `TimeSamplerHook`."""
    batch = samples([1, 2, -1, 4])
    joint.check_samples(batch)
    return batch


def test_joint(joint, checked, samples, gpu):
    model, wrapper = joint.to(gpu), Forward()
    inputs = [torch.zeros(3, 16, 16)] * 4
    with pytest.raises(DataDependentOutputException):
        model.train_step(dict(inputs=inputs, data_samples=samples(
            [1, 2, -1, 4])), wrapper)
    model.unlogged = []
    with BlockingCopies():
        model.train_step(dict(inputs=inputs, data_samples=checked), wrapper)
    assert wrapper.loss.device.type == 'cuda'
    names, = (names for names, _ in model.unlogged)
    assert {'loss', 'loss_feature'} <= set(names)


@pytest.mark.parametrize('joint', [dict(
    type='StackedLinearClsHead', num_classes=10, in_channels=32,
    mid_channels=[8], norm_cfg=dict(type='BN1d'))], indirect=True)
def test_joint_head_that_sees_all(joint, checked, gpu):
    """Rows of what it puts out are taken without a wait, too."""
    model, labels = joint.to(gpu), [sample.to(gpu) for sample in checked]
    losses = model(torch.zeros(4, 3, 16, 16, device=gpu), labels, mode='loss')
    assert losses['loss_task'].device.type == 'cuda'


def test_mixed_apart(checked, gpu):
    """Labelled images with each other, and nobody asks which they are."""
    apart = MixApart(lambda images, scores: (images.flip(0), scores.flip(0)))
    batch = [sample.to(gpu) for sample in checked]
    apart.before(type('', (), dict(to_onehot=True)), (
        dict(data_samples=batch), ))
    images, scores = apart(torch.zeros(4, 3, 16, 16, device=gpu),
                           torch.zeros(4, 10, device=gpu))
    assert images.device.type == scores.device.type == 'cuda'
    apart.after(None, (), dict(data_samples=batch))


@pytest.fixture
def joint(build, pipeline_folder, request):
    """A classifier, distilled while it is trained, on the CPU still."""
    head = getattr(request, 'param', dict(
        type='LinearClsHead', num_classes=10, in_channels=32))
    module = build(dict(
        type='repfusion_mm.JointRepFusion',
        task=dict(
            type='mmpretrain.ImageClassifier',
            backbone=dict(type='ResNet_CIFAR', depth=18, stem_channels=4,
                          base_channels=4),
            neck=dict(type='GlobalAveragePooling'),
            head=head),
        teacher=dict(type='repfusion_mm.UNetTeacher',
                     pretrained=pipeline_folder),
        time_sampler=dict(type='repfusion_mm.UniformTime'),
        connections=[dict(student_tap='backbone.layer4', teacher_tap=TAP,
                          loss=dict(type='repfusion_mm.HintLoss'))]))
    module.init_weights()
    return module.train()


@pytest.fixture
def told(build, tiny):
    """A teacher that is told the class of each image, on the CPU still."""
    module = build(dict(
        type='repfusion_mm.UNetTeacher', config=dict(tiny, num_class_embeds=6),
        class_condition=dict(class_map=[3, 4, 5])))
    module.init_weights()
    return module


def test_class_map(told, gpu):
    times = torch.zeros(4, dtype=torch.long, device=gpu)
    features = told.to(gpu)(torch.zeros(4, 3, 16, 16, device=gpu), times,
                            torch.zeros_like(times))
    assert features['mid_block'].device.type == 'cuda'


class Waits(TorchDispatchMode):
    """Counts the values that are read while it looks."""

    def __init__(self):
        super().__init__()
        self.looks, self.count = True, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if self.looks and func in (torch.ops.aten._local_scalar_dense.default,
                                   torch.ops.aten.nonzero.default,
                                   torch.ops.aten.is_nonzero.default,
                                   torch.ops.aten.equal.default):
            self.count += 1
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize('prepared', [
    dict(reward=reward('StudentProgressReward', num_classes=10))],
    indirect=True)
def test_no_wait_for_gradients(prepared, samples):
    """A reward that differentiates, which the fake GPU cannot."""
    batch = torch.zeros(4, 3, 16, 16), samples([1, 2, -1, 4])
    with Waits() as waits:
        prepared(*batch, mode='loss')
    assert waits.count == 0


@pytest.mark.parametrize('deferred', [True, False])
def test_through_the_runner(load_config, deferred):
    """Backward pass, optimiser and MMEngine's hooks too."""
    cfg = load_config(REINFORCED, 7, **{'default_hooks.logger.interval': 3,
                                        'default_hooks.checkpoint': None})
    # AdamW counts its steps on the host
    cfg.optim_wrapper.optimizer = dict(type='SGD', lr=0.1)
    cfg.custom_hooks = [dict(type='repfusion_mm.TimeSamplerHook', interval=3)]
    if deferred:
        cfg.custom_hooks.append(dict(type='repfusion_mm.DeferLogHook'))
    runner, waits, counts = Runner.from_cfg(cfg), Waits(), []
    preprocessor = runner.model.data_preprocessor

    # what MMEngine reads of the batch lies on the host
    def look(on):
        return lambda *_: setattr(waits, 'looks', on)

    preprocessor.register_forward_pre_hook(look(False))
    preprocessor.register_forward_hook(look(True))
    call_hook = runner.call_hook

    def counted(stage, **kwargs):
        if stage == 'before_train_iter':
            waits.count = 0
        with waits:
            call_hook(stage, **kwargs)
        if stage == 'after_train_iter':
            counts.append(waits.count)

    runner.call_hook = counted
    step = runner.model.train_step

    def train_step(*args, **kwargs):
        with waits:
            return step(*args, **kwargs)

    runner.model.train_step = train_step
    runner.train()
    between = [counts[i] for i in (0, 1, 3, 4)]  # the third and sixth log
    assert not any(between) if deferred else all(between)
    assert counts[2] and counts[5]
    losses = runner.message_hub.get_scalar('train/loss').data[0]
    assert len(losses) == 7
