"""That a step does not wait for the GPU, shown without one."""
import pytest
import torch
from mmengine.runner import Runner
from mmengine.utils import digit_version
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    FakeTensorMode,
)
from torch.utils._python_dispatch import TorchDispatchMode

from repfusion_mm.hooks import TimeSamplerHook

REINFORCED = 'configs/demo/repfusion_resnet18_reinforced_digits.py'
TAP = 'mid_block.resnets.1'


class Event:
    """A CUDA event whose GPU is always behind."""

    def record(self):
        pass

    def query(self):
        return False


@pytest.fixture
def gpu(monkeypatch):
    """A GPU that computes shapes only: reading a value from it raises."""
    if digit_version(torch.__version__) < digit_version('2.2'):
        pytest.skip('this torch asks a driver for a GPU that is not there')
    monkeypatch.setattr(torch.cuda, 'Event', Event)
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    with FakeTensorMode(allow_non_fake_inputs=True):
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
    """Losses, their log and the hook's counts of one step."""
    model = prepared.to(gpu)
    model.unlogged = []
    hook, runner = TimeSamplerHook(), type('', (), dict(model=model, iter=3))
    hook._counts = torch.zeros(20, dtype=torch.float64, device=gpu)
    hook._sum = torch.zeros_like(hook._counts[0])
    inputs = torch.zeros(4, 3, 16, 16, device=gpu)
    labels = [sample.to(gpu) for sample in samples([1, 2, -1, 4])]
    for _ in range(2):
        loss, log = model.parse_losses(model(inputs, labels, mode='loss'))
        hook.after_train_iter(runner, 3)
        assert loss.device.type == 'cuda' and not log
    assert len(model.unlogged) == 2
    with pytest.raises(DataDependentOutputException):  # it would be seen
        loss.item()


@pytest.mark.parametrize('prepared', [dict()], indirect=True)
def test_fake_gpu_notices(prepared, samples, gpu):
    """One that reads the labels, as this did before, is caught."""
    model = prepared.to(gpu)
    labels = [sample.to(gpu) for sample in samples([1, 2, -1, 4])]
    model.finite.check = lambda features, losses: bool(
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
    model, labels = joint.to(gpu), [sample.to(gpu) for sample in checked]
    inputs = torch.zeros(4, 3, 16, 16, device=gpu)
    with pytest.raises(DataDependentOutputException):
        model(inputs, [sample.to(gpu) for sample in samples([1, 2, -1, 4])],
              mode='loss')
    model.unlogged = []
    loss, _ = model.parse_losses(model(inputs, labels, mode='loss'))
    assert loss.device.type == 'cuda'
    names, = (names for names, _ in model.unlogged)
    assert {'loss', 'loss_feature'} <= set(names)


@pytest.fixture
def joint(build, pipeline_folder):
    """A classifier, distilled while it is trained, on the CPU still."""
    module = build(dict(
        type='repfusion_mm.JointRepFusion',
        task=dict(
            type='mmpretrain.ImageClassifier',
            backbone=dict(type='ResNet_CIFAR', depth=18, stem_channels=4,
                          base_channels=4),
            neck=dict(type='GlobalAveragePooling'),
            head=dict(type='LinearClsHead', num_classes=10, in_channels=32)),
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
