"""A user's own repository, made to distil by an override of a few lines.

It has a data set class in a plugin folder, and a config on top of the
library's own `_base_`. These overrides are the README's.
"""
import shutil

import numpy as np
import pytest

PLUGINS = dict(
    mmseg='''
from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS

@DATASETS.register_module()
class Squares(BaseSegDataset):
    METAINFO = dict(classes=('ground', 'small', 'wide'),
                    palette=[[0, 0, 0], [255, 0, 0], [0, 0, 255]])

    def __init__(self, **kwargs):
        super().__init__(img_suffix='.png', seg_map_suffix='.png', **kwargs)
''',
    mmpose='''
from mmpose.datasets.datasets.base import BaseCocoStyleDataset
from mmpose.registry import DATASETS

@DATASETS.register_module()
class Dots(BaseCocoStyleDataset):
    METAINFO = dict(
        dataset_name='dots', paper_info=dict(),
        keypoint_info={
            i: dict(name=name, id=i, color=[0, 0, 0], type='', swap='')
            for i, name in enumerate(('red', 'green', 'blue'))},
        skeleton_info={}, joint_weights=[1.] * 3, sigmas=[0.05] * 3)
''',
    mmpretrain='''
from mmpretrain.datasets import BaseDataset
from mmpretrain.registry import DATASETS

@DATASETS.register_module()
class Crops(BaseDataset):
    METAINFO = dict(classes=('even', 'odd'))

    def load_data_list(self):
        return [dict(img_path=f'{self.img_prefix}/{i}.png',
                     gt_label=-1 if i == 3 else i % 2) for i in range(4)]
''')

THEIRS = dict(
    mmseg='''
_base_ = ['./_base_/models/fcn_r50-d8.py', './_base_/default_runtime.py',
          './_base_/schedules/schedule_20k.py']
custom_imports = dict(imports=['plugins.data'])
model = dict(
    data_preprocessor=dict(size=(32, 32)),
    pretrained=None,
    backbone=dict(depth=18, base_channels=8, stem_channels=8),
    decode_head=dict(in_channels=64, channels=16, num_classes=3),
    auxiliary_head=dict(in_channels=32, channels=16, num_classes=3))
pipeline = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'),
            dict(type='PackSegInputs')]
train_dataloader = dict(
    batch_size=2, num_workers=0,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type='Squares', data_root='data', pipeline=pipeline,
        data_prefix=dict(img_path='images', seg_map_path='masks')))
val_dataloader = dict(
    batch_size=1, num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=train_dataloader['dataset'])
test_dataloader = val_dataloader
val_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
test_evaluator = val_evaluator
train_cfg = dict(max_iters=2, val_interval=2)
default_hooks = dict(logger=dict(interval=1), checkpoint=dict(interval=2))
''',
    mmpose='''
_base_ = './_base_/default_runtime.py'
custom_imports = dict(imports=['plugins.data'])
codec = dict(type='SimCCLabel', input_size=(32, 32), sigma=2.,
             simcc_split_ratio=2.)
model = dict(
    type='TopdownPoseEstimator',
    data_preprocessor=dict(
        type='PoseDataPreprocessor', mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375], bgr_to_rgb=True),
    backbone=dict(type='ResNet', depth=18, base_channels=8),
    head=dict(
        type='SimCCHead', in_channels=64, out_channels=3,
        input_size=(32, 32), in_featuremap_size=(1, 1),
        simcc_split_ratio=2., deconv_out_channels=None,
        loss=dict(type='KLDiscretLoss', use_target_weight=True),
        decoder=codec))
load = [dict(type='LoadImage'), dict(type='GetBBoxCenterScale'),
        dict(type='TopdownAffine', input_size=codec['input_size'])]
train_dataloader = dict(
    batch_size=2, num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='Dots', data_root='data', ann_file='keypoints.json',
        data_prefix=dict(img='images/'),
        pipeline=[*load, dict(type='GenerateTarget', encoder=codec),
                  dict(type='PackPoseInputs')]))
val_dataloader = dict(
    batch_size=2, num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='Dots', data_root='data', ann_file='keypoints.json',
        data_prefix=dict(img='images/'), test_mode=True,
        pipeline=[*load, dict(type='PackPoseInputs')]))
test_dataloader = val_dataloader
val_evaluator = dict(type='PCKAccuracy', thr=0.2)
test_evaluator = val_evaluator
train_cfg = dict(max_epochs=1, val_interval=1)
optim_wrapper = dict(optimizer=dict(type='Adam', lr=5e-4))
default_hooks = dict(logger=dict(interval=1), checkpoint=dict(interval=1))
''',
    mmpretrain='''
_base_ = ['./_base_/models/resnet18_cifar.py', './_base_/default_runtime.py']
custom_imports = dict(imports=['plugins.data'])
data_preprocessor = dict(mean=[123.675, 116.28, 103.53],
                         std=[58.395, 57.12, 57.375], to_rgb=True)
model = dict(
    backbone=dict(base_channels=8, stem_channels=8),
    head=dict(num_classes=2, in_channels=64, topk=(1, )))
train_dataloader = dict(
    batch_size=2, num_workers=1,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='Crops', ann_file='', data_prefix='data/images',
        pipeline=[dict(type='LoadImageFromFile'), dict(type='PackInputs')]))
val_dataloader = dict(
    batch_size=2, num_workers=1,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=train_dataloader['dataset'])
test_dataloader = val_dataloader
val_evaluator = dict(type='Accuracy', topk=1)
test_evaluator = val_evaluator
train_cfg = dict(by_epoch=True, max_epochs=1)
val_cfg = dict()
test_cfg = dict()
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.01))
default_hooks = dict(logger=dict(interval=1))
''')

JOINT = dict(
    mmseg='''
_base_ = './their_config.py'
model = dict(
    _delete_=True,
    type='repfusion_mm.JointRepFusion',
    task={{_base_.model}},
    teacher=dict(type='repfusion_mm.UNetTeacher', pretrained='TEACHER'),
    time_sampler=dict(type='repfusion_mm.ReinforcedTime'),
    reward=dict(type='repfusion_mm.SegmentationReward', num_classes=3),
    connections=[
        dict(student_tap='backbone.layer4',
             teacher_tap='mid_block.resnets.1.conv2',
             loss=dict(type='repfusion_mm.HintLoss'))])
custom_hooks = [dict(type='repfusion_mm.TimeSamplerHook')]
''',
    mmpose='''
_base_ = './their_config.py'
model = dict(
    _delete_=True,
    type='repfusion_mm.JointRepFusion',
    task={{_base_.model}},
    teacher=dict(type='repfusion_mm.UNetTeacher', pretrained='TEACHER'),
    time_sampler=dict(type='repfusion_mm.UniformTime', max_t=200),
    connections=[
        dict(student_tap='backbone.layer4',
             teacher_tap='mid_block.resnets.1.conv2',
             loss=dict(type='repfusion_mm.HintLoss'))])
custom_hooks = _base_.custom_hooks + [
    dict(type='repfusion_mm.TimeSamplerHook')]
''',
    mmpretrain='''
_base_ = './their_config.py'
model = dict(
    _delete_=True,
    type='repfusion_mm.JointRepFusion',
    task={{_base_.model}},
    teacher=dict(type='repfusion_mm.UNetTeacher', pretrained='TEACHER'),
    time_sampler=dict(type='repfusion_mm.ReinforcedTime'),
    reward=dict(type='repfusion_mm.ClassificationReward', num_classes=2),
    connections=[
        dict(student_tap='backbone.layer4',
             teacher_tap='mid_block.resnets.1.conv2',
             loss=dict(type='repfusion_mm.HintLoss', pool=True))])
custom_hooks = [dict(type='repfusion_mm.TimeSamplerHook')]
''')
# of the task, its checkpoint, and what test.py prints
CHECKS = dict(
    mmseg=({'decode.loss_ce', 'aux.loss_ce'}, 'iter_2.pth', 'mIoU'),
    mmpose=({'loss_kpt'}, 'epoch_1.pth', 'PCK'),
    mmpretrain=({'loss'}, 'epoch_1.pth', 'accuracy/top1'))


@pytest.mark.parametrize('library', [
    'mmseg', pytest.param('mmpose', marks=pytest.mark.slow),
    pytest.param('mmpretrain', marks=pytest.mark.slow)])
def test_own_repository(library, stock, library_folder, write_masks,
                        write_keypoints, pipeline_folder, rows, weights,
                        tmp_path):
    shutil.copytree(library_folder(library) / '.mim/configs/_base_',
                    tmp_path / 'configs/_base_')
    (tmp_path / 'plugins').mkdir()
    (tmp_path / 'plugins/data.py').write_text(PLUGINS[library])
    write = write_keypoints if library == 'mmpose' else write_masks
    write(tmp_path / 'data', 4)
    for name, text in (('their_config', THEIRS), ('joint', JOINT)):
        (tmp_path / f'configs/{name}.py').write_text(
            text[library].replace('TEACHER', pipeline_folder))

    # as the library's own dist_train.sh sets the path
    here = dict(PYTHONPATH=str(tmp_path))
    stock(library, 'train.py', 'configs/joint.py', cwd=tmp_path, **here)
    losses, checkpoint, metric = CHECKS[library]
    work = tmp_path / 'work_dirs/joint'
    logged = rows(work)
    assert len(logged) == 2
    for row in logged:
        assert losses | {'loss_feature', 'mean_t'} <= set(row)
        assert np.isfinite(list(row.values())).all()
    assert any(key.startswith('task.backbone.layer4.')
               for key in weights(work / checkpoint))

    printed = stock(library, 'test.py', 'configs/joint.py', work / checkpoint,
                    cwd=tmp_path, **here)
    assert metric in printed
