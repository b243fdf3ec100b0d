import random

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.model import ImgDataPreprocessor
from mmengine.registry import MODELS as MMENGINE_MODELS
from torch import nn

from repfusion_mm.models.distillers.trial import trial_sizes, try_student


class Student(nn.Module):
    """A convolution of some images, and what its kind does to them."""

    def __init__(self, channels=3, takes=None, img_size=None):
        super().__init__()
        self.conv = nn.Conv2d(channels, 4, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.head = nn.Conv2d(4, 6, 1)
        self.takes = takes
        if img_size is not None:
            self.img_size = img_size

    def forward(self, x):
        assert self.takes is None or tuple(x.shape[-2:]) in self.takes, \
            f'no image of {tuple(x.shape)} please'
        return self.norm(self.conv(x))


class Forgetful(Student):
    """Other outputs in training; random, and counting on the way."""

    def __init__(self):
        super().__init__()
        self.calls = 0
        self.register_buffer('seen', torch.zeros(1))
        self.norm = nn.SyncBatchNorm(4)

    def forward(self, x):
        self.calls += 1
        self.seen += 1
        torch.rand(1), random.random(), np.random.rand()
        x = self.norm(self.conv(F.dropout(x)))
        return (self.head(x), x) if self.training else x


class LeavesOut(Student):
    """In training the tapped layer does not run."""

    def forward(self, x):
        x = super().forward(x)
        return x if self.training else self.head(x)


class InPieces(nn.Module):
    """Its first convolution sees four pixels at once, as YOLO's do."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(12, 4, 1)

    def forward(self, x):
        return self.conv(F.pixel_unshuffle(x, 2))


def normalising(channels=3):
    preprocessor = ImgDataPreprocessor()
    preprocessor.mean = torch.ones(channels, 1, 1)
    return preprocessor


PLAIN = ImgDataPreprocessor()


def tried(student, paths=('out.-1', ), preprocessor=PLAIN,
          sizes=((64, 64), )):
    return try_student(student, paths, None, preprocessor, sizes)


def test_as_it_is_trained():
    trial = tried(Forgetful(), ['out.0', 'out.1', 'head'])
    assert trial.taps.shapes == {'out.0': (6, 32, 32), 'out.1': (4, 32, 32),
                                 'head': (6, 32, 32)}
    assert [f.size(1) for f in trial.output] == [6, 4]
    assert trial.channels == 3


def test_train_that_returns_nothing():
    # as that of mmpretrain's ResNet
    class Silent(Forgetful):

        def train(self, mode=True):
            super().train(mode)

    assert [len(f) for f in tried(Silent()).output] == [2, 2]


@pytest.mark.parametrize('training', [True, False])
def test_leaves_no_trace(training):
    student = Forgetful().train(training)
    student.head.eval()
    state = {key: value.clone() for key, value
             in student.state_dict().items()}
    before = [torch.get_rng_state(), random.getstate(),
              np.random.get_state()[1].tolist()]
    tried(student, ['out.-1'])
    after = [torch.get_rng_state(), random.getstate(),
             np.random.get_state()[1].tolist()]
    assert torch.equal(before[0], after[0]) and before[1:] == after[1:]
    for key, value in student.state_dict().items():
        assert torch.equal(value, state[key]), key
    assert student.calls == 0
    assert student.training == training and not student.head.training
    assert not student._forward_hooks


def test_where_training_leaves_out_the_tap():
    student = LeavesOut()
    student.head.eval()
    assert tried(student, ['head']).taps.shapes == {'head': (6, 32, 32)}
    assert student.training and not student.head.training
    assert student.norm.num_batches_tracked == 0


def test_student_that_cannot_be_copied():
    student = Student()
    student.lock = open(__file__)  # noqa: SIM115
    assert tried(student).taps.shapes == {'out.-1': (4, 32, 32)}
    student.lock.close()


@pytest.mark.parametrize('config, own, padded, wanted', [
    (None, None, None, [(128, 128), (224, 224), (256, 256)]),
    (None, None, (96, 32), [(96, 32), (128, 128), (224, 224), (256, 256)]),
    (None, 48, (96, 32), [(48, 48), (96, 32), (128, 128), (224, 224),
                          (256, 256)]),
    (dict(a=[dict(img_size=1)], backbone=dict(img_size=[32, 16])), 224, None,
     [(32, 16), (224, 224), (128, 128), (256, 256)]),
    (dict(img_size='224'), None, (None, None),
     [(128, 128), (224, 224), (256, 256)])])
def test_sizes(config, own, padded, wanted):
    preprocessor = ImgDataPreprocessor()
    preprocessor.size = padded
    student = nn.Sequential(nn.Conv2d(3, 1, 1), Student(img_size=own))
    assert trial_sizes(None, student, config, preprocessor,
                       (32, 65)) == wanted
    assert trial_sizes(40, student, config, preprocessor,
                       (32, 65)) == [(40, 40)]
    assert trial_sizes([40, 50], student, config, preprocessor,
                       (32, 65)) == [(40, 50)]


@pytest.mark.parametrize('size', ['224', 0, (3, 64, 64), 2.5, (0, 2)])
def test_no_size(size):
    with pytest.raises(ValueError, match=r'`trial_size` is .*\(224, 224\)'):
        trial_sizes(size, Student(), None, PLAIN, (64, 64))


def test_first_size_that_it_takes():
    student = Student(takes=[(224, 224), (256, 256)])
    trial = tried(student, sizes=[(64, 64), (256, 256), (224, 224)])
    assert trial.taps.shapes == {'out.-1': (4, 128, 128)}


def test_no_size_fits():
    with pytest.raises(ValueError, match=r'the student Student takes no trial '
                       r'image of \(3, 64, 64\) or \(3, 8, 8\): set '
                       r'`trial_size=.*no image of \(1, 3, 64, 64\) please'):
        tried(Student(takes=[(7, 7)]), sizes=[(64, 64), (8, 8)])


@pytest.mark.parametrize('preprocessor', [PLAIN, normalising(1),
                                          normalising(4)])
def test_channels_of_the_student(preprocessor):
    assert tried(Student(channels=4), preprocessor=preprocessor).channels == 4


@pytest.mark.parametrize('preprocessor', [PLAIN, normalising(3)])
def test_image_in_pieces(preprocessor):
    trial = tried(InPieces(), preprocessor=preprocessor)
    assert trial.channels == 3
    assert trial.taps.shapes == {'out.-1': (4, 32, 32)}


@pytest.mark.parametrize('student, mean', [(4, 3), (1, 3), (3, 4)])
def test_other_channels_than_the_mean(student, mean):
    with pytest.raises(ValueError, match=f'`data_preprocessor.mean` has {mean}'
                       f' values.*Student takes {student}: .*`in_channels='
                       f'{mean}`'):
        tried(Student(channels=student), preprocessor=normalising(mean))


def test_unknown_tap_is_no_matter_of_size():
    with pytest.raises(ValueError, match="names 'haed'.*nearest: 'head'"):
        tried(Student(), ['haed'], sizes=[(64, 64), (8, 8)])


SWIN = dict(embed_dims=8, depths=[1] * 4, num_heads=[1] * 4)


@pytest.mark.parametrize('backbone, tap, size, shape', [
    (dict(type='mmpretrain.SwinTransformer', arch=SWIN), 'out.-1', 224,
     (64, 7, 7)),
    (dict(type='mmpretrain.LeViT', img_size=256, arch='128s'), 'out.-1', 256,
     (384, 4, 4)),
    (dict(type='mmpretrain.EfficientFormer', reshape_last_feat=True,
          arch=dict(layers=[1, 1, 1, 1], embed_dims=[8, 8, 8, 8],
                    downsamples=[False, True, True, True], vit_num=1)),
     'out.-1', 224, (8, 7, 7)),
    (dict(type='mmpretrain.MlpMixer', img_size=64, patch_size=16, arch=dict(
        embed_dims=8, num_layers=1, tokens_mlp_dims=8, channels_mlp_dims=8)),
     'patch_embed.projection', 64, (8, 4, 4)),
    (dict(type='mmseg.PIDNet', channels=4, ppm_channels=4, num_stem_blocks=1,
          num_branch_blocks=1), 'out.0', 64, (8, 8, 8)),
    (dict(type='mmseg.DDRNet', channels=4, ppm_channels=4), 'out.0', 64,
     (8, 8, 8)),
], ids=lambda value: value['type'] if isinstance(value, dict) else None)
def test_distils_into(repfusion, build, backbone, tap, size, shape):
    """Those of a fixed size, a smallest one, and others in training."""
    if backbone['type'].startswith('mmseg'):
        pytest.importorskip('mmseg')
    module = build(repfusion(
        backbone=backbone, reward=None,
        time_sampler=dict(type='repfusion_mm.FixedTime'),
        connections=[dict(student_tap=tap, teacher_tap='mid_block',
                          loss=dict(type='repfusion_mm.HintLoss'))]))
    assert module.taps.shapes == {tap: shape}
    module.init_weights()
    module.train()
    loss = module.loss(torch.rand(2, 3, size, size) * 2 - 1, [])
    loss['loss_feature'].backward()
    first = next(p for p in module.backbone.parameters()
                 if p.grad is not None)
    assert first.grad.abs().sum() > 0


@pytest.fixture
def fixed_size():
    MMENGINE_MODELS.register_module('FixedSize', True, Student)
    yield
    del MMENGINE_MODELS.module_dict['FixedSize']


def test_trial_size_in_the_config(repfusion, build, fixed_size):
    cfg = repfusion(
        backbone=dict(type='mmengine.FixedSize', takes=[(40, 24)]),
        connections=[dict(student_tap='out.-1', teacher_tap='mid_block')])
    with pytest.raises(ValueError, match='`trial_size='):
        build(cfg)
    module = build(dict(cfg, trial_size=(40, 24)))
    assert module.taps.shapes == {'out.-1': (4, 20, 12)}


def test_joint_model(build, pipeline_folder):
    """In training PIDNet gives three outputs to `extract_feat`."""
    pytest.importorskip('mmseg')
    norm = dict(type='SyncBN', requires_grad=True)
    module = build(dict(
        type='repfusion_mm.JointRepFusion',
        task=dict(
            type='mmseg.EncoderDecoder',
            data_preprocessor=dict(
                type='SegDataPreProcessor', size=(64, 128)),
            backbone=dict(type='PIDNet', channels=4, ppm_channels=4,
                          num_stem_blocks=1, num_branch_blocks=1,
                          norm_cfg=norm),
            decode_head=dict(type='PIDHead', in_channels=8, channels=8,
                             num_classes=3, norm_cfg=norm, loss_decode=[
                                 dict(type='CrossEntropyLoss')] * 4),
            train_cfg=dict(), test_cfg=dict(mode='whole')),
        teacher=dict(type='repfusion_mm.UNetTeacher',
                     pretrained=pipeline_folder),
        time_sampler=dict(type='repfusion_mm.UniformTime'),
        connections=[dict(student_tap=f'out.{i}', teacher_tap='mid_block')
                     for i in range(3)]))
    assert list(module.taps.shapes.values()) == [
        (8, 8, 16), (16, 8, 16), (8, 8, 16)]
    for _, value in module.task.named_buffers():
        assert not value.is_floating_point() or \
            set(value.unique().tolist()) <= {0., 1.}  # as it was built
