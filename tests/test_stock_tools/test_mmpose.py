"""mmpose's tools on a joint heatmap estimator."""
import json
import pickle
import shutil

import cv2
import numpy as np
import pytest
import torch

CONFIG = '''
default_scope = 'mmpose'
codec = dict(type='MSRAHeatmap', input_size=(32, 32), heatmap_size=(8, 8),
             sigma=1)
model = dict(
    type='repfusion_mm.JointRepFusion',
    task=dict(
        type='mmpose.TopdownPoseEstimator',
        data_preprocessor=dict(
            type='PoseDataPreprocessor', mean=[127.5] * 3, std=[127.5] * 3,
            bgr_to_rgb=True),
        backbone=dict(type='ResNet', depth=18, base_channels=4,
                      stem_channels=4),
        head=dict(
            type='HeatmapHead', in_channels=32, out_channels=3,
            deconv_out_channels=(8, 8, 8), deconv_kernel_sizes=(4, 4, 4),
            loss=dict(type='KeypointMSELoss', use_target_weight=True),
            decoder=codec),
        test_cfg=dict(flip_test=True, flip_mode='heatmap',
                      output_heatmaps=True)),
    teacher=dict(type='repfusion_mm.UNetTeacher', pretrained='teacher'),
    time_sampler=dict(type='repfusion_mm.ReinforcedTime', num_bins=20),
    reward=dict(type='repfusion_mm.KeypointReward', num_keypoints=3),
    connections=[
        dict(student_tap='backbone.layer4', teacher_tap='mid_block.resnets.1',
             loss=dict(type='repfusion_mm.HintLoss'))])
custom_hooks = [dict(type='repfusion_mm.TimeSamplerHook', interval=1)]

metainfo = dict(
    dataset_name='dots', paper_info=dict(),
    keypoint_info={
        index: dict(name=name, id=index, color=[0, 0, 0], type='', swap='')
        for index, name in enumerate(('red', 'green', 'blue'))},
    skeleton_info={}, joint_weights=[1.] * 3, sigmas=[0.05] * 3)
train_dataloader = dict(
    batch_size=2, num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='CocoDataset', data_root='DATA', ann_file='keypoints.json',
        data_prefix=dict(img='images/'), metainfo=metainfo,
        pipeline=[
            dict(type='LoadImage'), dict(type='GetBBoxCenterScale'),
            dict(type='TopdownAffine', input_size=codec['input_size']),
            dict(type='GenerateTarget', encoder=codec),
            dict(type='PackPoseInputs', pack_transformed=True)]))
val_dataloader = dict(
    batch_size=2, num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),
    dataset=dict(
        type='CocoDataset', data_root='DATA', ann_file='keypoints.json',
        data_prefix=dict(img='images/'), metainfo=metainfo, test_mode=True,
        pipeline=[
            dict(type='LoadImage'), dict(type='GetBBoxCenterScale'),
            dict(type='TopdownAffine', input_size=codec['input_size']),
            dict(type='PackPoseInputs')]))
test_dataloader = val_dataloader
val_evaluator = dict(type='CocoMetric', ann_file='DATA/keypoints.json')
test_evaluator = val_evaluator
train_cfg = dict(by_epoch=True, max_epochs=1, val_interval=1)
val_cfg = dict()
test_cfg = dict()
randomness = dict(seed=0)
optim_wrapper = dict(optimizer=dict(type='Adam', lr=1e-3))
default_hooks = dict(
    logger=dict(type='LoggerHook', interval=1),
    checkpoint=dict(type='CheckpointHook', interval=1),
    badcase=dict(
        type='BadCaseAnalysisHook', enable=False, out_dir='badcase',
        metric_type='loss', badcase_thr=-1,
        metric=dict(type='KeypointMSELoss', use_target_weight=True)),
    visualization=dict(type='PoseVisualizationHook', enable=False,
                       kpt_thr=-1))
visualizer = dict(type='PoseLocalVisualizer', name='visualizer',
                  backend='matplotlib',
                  vis_backends=[dict(type='LocalVisBackend')])
'''


@pytest.fixture(scope='module')
def trained(stock, write_keypoints, pipeline_folder, tmp_path_factory):
    """A folder in which mmpose's train.py has been run, without a teacher."""
    folder = tmp_path_factory.mktemp('mmpose')
    write_keypoints(folder / 'data', 6)
    shutil.copytree(pipeline_folder, folder / 'teacher')
    (folder / 'joint.py').write_text(
        CONFIG.replace('DATA', str(folder / 'data')))
    stock('mmpose', 'train.py', 'joint.py', cwd=folder)
    (folder / 'teacher').rename(folder / 'gone')
    return folder


def test_train(trained, rows, weights):
    work = trained / 'work_dirs/joint'
    logged = rows(work)
    assert [row['step'] for row in logged] == [1, 2, 3]
    for row in logged:
        assert {'loss_kpt', 'loss_feature', 'loss_policy',
                'mean_t'} < set(row)
        assert np.isfinite(list(row.values())).all()
    assert len((work / 'time_steps.jsonl').read_text().splitlines()) == 3
    assert {key.split('.')[0] for key in weights(work / 'epoch_1.pth')} == {
        'task', 'connections', 'time_sampler', 'reward'}


def test_test(trained, stock, task_alone, tmp_path):
    checkpoint = trained / 'work_dirs/joint/epoch_1.pth'
    printed = stock(
        'mmpose', 'test.py', 'joint.py', checkpoint, '--work-dir', tmp_path,
        '--dump', tmp_path / 'out.pkl', '--show-dir', tmp_path / 'show',
        cwd=trained)
    assert 'coco/AP' in printed
    results = pickle.loads((tmp_path / 'out.pkl').read_bytes())
    alone = task_alone(trained / 'joint.py', checkpoint)
    assert len(results) == len(alone) == 6
    for result, sample in zip(results, alone):
        assert result['id'] == sample.id
        np.testing.assert_allclose(
            result['pred_instances']['keypoint_scores'],
            sample.pred_instances.keypoint_scores, rtol=1e-4)
        # and not where they peak: after three steps they are nearly flat
        torch.testing.assert_close(result['pred_fields']['heatmaps'],
                                   sample.pred_fields.heatmaps,
                                   rtol=1e-4, atol=1e-6)
    shown = list((tmp_path / 'show').glob('*.png'))
    assert len(shown) == 6
    for path in shown:  # the keypoints' colour, which is black
        assert (cv2.imread(str(path)).max(-1) == 0).any()


def test_inference(trained, publish, task_alone):
    """The published model by mmpose's own functions and a plain config."""
    from mmpose.apis import inference_topdown, init_model
    checkpoint = trained / 'work_dirs/joint/epoch_1.pth'
    model = init_model(*publish(trained / 'joint.py', checkpoint),
                       device='cpu')
    for sample in task_alone(trained / 'joint.py', checkpoint):
        found, = inference_topdown(model, sample.img_path,
                                   sample.gt_instances.bboxes)
        assert found.pred_instances.keypoints.shape == (1, 3, 2)
        torch.testing.assert_close(found.pred_fields.heatmaps,
                                   sample.pred_fields.heatmaps,
                                   rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_browse_dataset(trained, stock, tmp_path):
    stock('mmpose', 'misc/browse_dataset.py', 'joint.py', '--output-dir',
          tmp_path, '--not-show', cwd=trained)
    assert len(list(tmp_path.rglob('*.png'))) == 6


@pytest.mark.slow
def test_badcase(trained, stock, tmp_path):
    """Its `metric` must be named: test.py looks for `model.head.loss`."""
    checkpoint = trained / 'work_dirs/joint/epoch_1.pth'
    stock('mmpose', 'test.py', 'joint.py', checkpoint, '--work-dir', tmp_path,
          '--badcase', '--dump', tmp_path / 'out.pkl', cwd=trained)
    folder, = tmp_path.glob('*/badcase')
    assert len(list(folder.glob('*.png'))) == 6  # all are worse than -1
    cases = {case['img']: case['KeypointMSELoss'] for case
             in json.loads((folder / 'results.json').read_text())}
    for result in pickle.loads((tmp_path / 'out.pkl').read_bytes()):
        wrong = result['pred_instances']['keypoints'] - \
            result['gt_instances']['keypoints']
        assert cases.pop(str(result['img_id'])) == pytest.approx(
            np.square(wrong).mean(), rel=1e-4)
    assert not cases
