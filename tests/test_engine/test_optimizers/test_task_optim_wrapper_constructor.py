import copy

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, DefaultScope

VIT = dict(type='VisionTransformer', img_size=32, patch_size=8)
OURS = 'repfusion_mm.TaskOptimWrapperConstructor'


def mmseg():
    """A ConvNeXt under the name that mmseg's constructor looks for."""
    return dict(
        type='EncoderDecoder',
        backbone=dict(type='mmpretrain.ConvNeXt', arch=dict(
            depths=[1, 1, 3, 1], channels=[4, 8, 12, 16]),
            out_indices=(0, 1, 2, 3)),
        decode_head=dict(type='FCNHead', in_channels=16, in_index=3,
                         channels=4, num_convs=1, num_classes=3,
                         norm_cfg=dict(type='BN')))


def mmpose():
    return dict(
        type='TopdownPoseEstimator',
        backbone=dict(
            VIT, type='mmpretrain.VisionTransformer', out_type='featmap',
            with_cls_token=False, arch=dict(
                embed_dims=16, num_layers=3, num_heads=2,
                feedforward_channels=32)),
        head=dict(type='HeatmapHead', in_channels=16, out_channels=3,
                  deconv_out_channels=(4, ), deconv_kernel_sizes=(4, ),
                  loss=dict(type='KeypointMSELoss'),
                  decoder=dict(type='MSRAHeatmap', input_size=(32, 32),
                               heatmap_size=(8, 8), sigma=1)))


def mmpretrain():
    return dict(
        type='ImageClassifier',
        backbone=dict(VIT, arch=dict(
            embed_dims=16, num_layers=3, num_heads=2,
            feedforward_channels=32)),
        head=dict(type='VisionTransformerClsHead', num_classes=3,
                  in_channels=16))


# the constructor of each library, and what it reads
LIBRARIES = dict(
    mmseg=(mmseg, 'LearningRateDecayOptimizerConstructor', dict(
        decay_rate=0.5, decay_type='layer_wise', num_layers=6)),
    mmpose=(mmpose, 'LayerDecayOptimWrapperConstructor', dict(
        layer_decay_rate=0.5, num_layers=3)),
    mmpretrain=(mmpretrain, 'LearningRateDecayOptimWrapperConstructor', dict(
        layer_decay_rate=0.5)))


def options_of(model, constructor, paramwise_cfg):
    """Learning rate and weight decay of each parameter, by its name."""
    wrapper = build_optim_wrapper(model, dict(
        optimizer=dict(type='AdamW', lr=0.1, weight_decay=0.05),
        constructor=constructor, paramwise_cfg=copy.deepcopy(paramwise_cfg)))
    names = {parameter: name for name, parameter in model.named_parameters()}
    return {names[parameter]: (group['lr'], group['weight_decay'])
            for group in wrapper.optimizer.param_groups
            for parameter in group['params']}


@pytest.fixture
def joint(build, pipeline_folder):

    def make(task, tap):
        return build(dict(
            type='repfusion_mm.JointRepFusion', task=task,
            teacher=dict(type='repfusion_mm.UNetTeacher',
                         pretrained=pipeline_folder),
            time_sampler=dict(type='repfusion_mm.UniformTime'),
            connections=[dict(
                student_tap=tap, teacher_tap='mid_block.resnets.1',
                loss=dict(type='repfusion_mm.HintLoss', pool=True))]))

    return make


@pytest.mark.parametrize('library', list(LIBRARIES))
def test_the_rates_of_the_task_alone(joint, library):
    pytest.importorskip(f'{library}.engine')
    task, constructor, paramwise_cfg = LIBRARIES[library]
    with DefaultScope.overwrite_default_scope(library):
        wanted = options_of(MODELS.build(task()), constructor, paramwise_cfg)
        model = joint(task(), 'out.0')
        if library == 'mmpretrain':
            found = options_of(model, constructor, paramwise_cfg)
        else:
            found = options_of(model, OURS, dict(
                paramwise_cfg, task_constructor=constructor))
    assert len({rate for rate, _ in wanted.values()}) > 3
    for name, option in wanted.items():
        assert found.pop(f'task.{name}') == pytest.approx(option)
    assert found and all(name.startswith('connections.') for name in found)
    assert {rate for rate, _ in found.values()} == {0.1}


def test_no_task_constructor(joint):
    with pytest.raises(KeyError, match='paramwise_cfg.*task_constructor'):
        options_of(torch.nn.Linear(1, 1), OURS, {})


def test_no_joint_model():
    with pytest.raises(TypeError, match='JointRepFusion, got Linear'):
        options_of(torch.nn.Linear(1, 1), OURS, dict(
            task_constructor='DefaultOptimWrapperConstructor'))
