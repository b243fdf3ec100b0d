"""`sync_bn` as far as a CPU can show: SyncBatchNorm only trains on GPUs."""
import pytest
import torch
from mmengine.model import convert_sync_batchnorm
from mmengine.registry import MODEL_WRAPPERS
from mmengine.runner import Runner
from torch.nn.modules.batchnorm import SyncBatchNorm, _BatchNorm

FIXED = 'configs/demo/repfusion_resnet18_fixed_digits.py'
CLASSIFIER = dict(
    type='mmpretrain.ImageClassifier',
    backbone=dict(type='ResNet_CIFAR', depth=18, stem_channels=4,
                  base_channels=4),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=10, in_channels=32))


def norms(module):
    return [one for one in module.modules() if isinstance(one, _BatchNorm)]


@pytest.fixture
def classifier_teacher(tmp_path, build):
    """A teacher that has batch norms, too."""
    path = str(tmp_path / 'classifier.pth')
    torch.save(dict(state_dict=build(CLASSIFIER).state_dict()), path)
    return dict(type='repfusion_mm.ClassifierTeacher', checkpoint=path,
                image_size=16, model=dict(CLASSIFIER, data_preprocessor=dict(
                    mean=[127.5] * 3, std=[127.5] * 3)))


def test_the_student_is_converted_and_the_teacher_is_not(
        build, repfusion, classifier_teacher, samples):
    # one tap is a norm itself, which the conversion puts another module for
    model = build(repfusion(
        teacher=classifier_teacher, reward=None,
        time_sampler=dict(type='repfusion_mm.FixedTime'),
        connections=[dict(student_tap=tap, teacher_tap='backbone.layer4')
                     for tap in ('layer4', 'layer3.1.bn2')]))
    model.init_weights()
    model.eval()
    batch = dict(inputs=torch.rand(4, 3, 16, 16) * 2 - 1,
                 data_samples=samples([1] * 4))
    before = model(**batch, mode='loss')
    keys = list(model.state_dict())
    model = convert_sync_batchnorm(model, 'torch').eval()
    assert len(norms(model)) == 20
    assert all(isinstance(one, SyncBatchNorm) for one in norms(model))
    of_teacher = norms(model.teacher.network)
    assert of_teacher
    assert not any(isinstance(one, SyncBatchNorm) for one in of_teacher)
    assert sorted(model.state_dict()) == sorted(keys)
    after = model(**batch, mode='loss')
    assert set(before) == set(after) >= {'loss_feature', 'loss_feature1'}
    for name, loss in before.items():
        torch.testing.assert_close(after[name], loss)


class BareWrapper(torch.nn.Module):
    """In place of DDP, which refuses a SyncBatchNorm on a CPU."""

    def __init__(self, module):
        super().__init__()
        self.module = module


@pytest.fixture
def wrapper(tmp_path, monkeypatch):
    """A process group of one, and what its models are wrapped in."""
    monkeypatch.setenv('LOCAL_RANK', '0')
    monkeypatch.setitem(MODEL_WRAPPERS.module_dict, 'BareWrapper',
                        BareWrapper)
    torch.distributed.init_process_group(
        'gloo', init_method=f'file://{tmp_path}/store', rank=0, world_size=1)
    yield dict(type='BareWrapper')
    torch.distributed.destroy_process_group()


@pytest.mark.skipif(torch.cuda.is_available(), reason='there is a GPU')
@pytest.mark.parametrize('sync_bn', ['torch', None])
def test_config_key(load_config, wrapper, sync_bn):
    cfg = load_config(FIXED, launcher='pytorch', model_wrapper_cfg=wrapper)
    cfg.sync_bn = sync_bn
    model = Runner.from_cfg(cfg).model
    assert isinstance(model, BareWrapper) and len(norms(model)) == 20
    assert all(isinstance(one, SyncBatchNorm) == (sync_bn == 'torch')
               for one in norms(model))
