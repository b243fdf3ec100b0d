"""mmdet's tools on a joint detector."""
import json
import shutil

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config

SIDE = 64
CONFIG = '''
default_scope = 'mmdet'
model = dict(
    type='repfusion_mm.JointRepFusion',
    task=dict(
        type='mmdet.RetinaNet',
        data_preprocessor=dict(
            type='DetDataPreprocessor', mean=[127.5] * 3, std=[127.5] * 3,
            bgr_to_rgb=True, pad_size_divisor=32),
        backbone=dict(type='ResNet', depth=18, base_channels=8,
                      stem_channels=8, norm_eval=False),
        neck=dict(type='FPN', in_channels=[8, 16, 32, 64], out_channels=16,
                  start_level=1, add_extra_convs='on_input', num_outs=5),
        bbox_head=dict(
            type='RetinaHead', num_classes=2, in_channels=16,
            stacked_convs=1, feat_channels=16,
            anchor_generator=dict(
                type='AnchorGenerator', octave_base_scale=4,
                scales_per_octave=3, ratios=[0.5, 1.0, 2.0],
                strides=[8, 16, 32, 64, 128]),
            bbox_coder=dict(type='DeltaXYWHBBoxCoder'),
            loss_cls=dict(type='FocalLoss', use_sigmoid=True, gamma=2.0,
                          alpha=0.25, loss_weight=1.0),
            loss_bbox=dict(type='L1Loss', loss_weight=1.0)),
        train_cfg=dict(
            assigner=dict(type='MaxIoUAssigner', pos_iou_thr=0.5,
                          neg_iou_thr=0.4, min_pos_iou=0, ignore_iof_thr=-1),
            sampler=dict(type='PseudoSampler'), allowed_border=-1,
            pos_weight=-1, debug=False),
        test_cfg=dict(nms_pre=100, min_bbox_size=0, score_thr=0.,
                      nms=dict(type='nms', iou_threshold=0.5),
                      max_per_img=10)),
    teacher=dict(type='repfusion_mm.UNetTeacher', pretrained='teacher'),
    time_sampler=dict(type='repfusion_mm.FixedTime', t=50),
    connections=[
        dict(student_tap='backbone.layer4', teacher_tap='mid_block.resnets.1',
             loss=dict(type='repfusion_mm.HintLoss'))])
custom_hooks = [dict(type='repfusion_mm.TimeSamplerHook', interval=1)]

pipeline = [dict(type='LoadImageFromFile'),
            dict(type='LoadAnnotations', with_bbox=True),
            dict(type='PackDetInputs', meta_keys=(
                'img_id', 'img_path', 'ori_shape', 'img_shape',
                'scale_factor'))]
test_pipeline = [pipeline[0],
                 dict(type='Resize', scale=(64, 64), keep_ratio=True),
                 *pipeline[1:]]
data = dict(type='CocoDataset', data_root='DATA', ann_file='boxes.json',
            data_prefix=dict(img='images/'), pipeline=pipeline,
            metainfo=dict(classes=('small', 'wide')))
train_dataloader = dict(
    batch_size=4, num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(type='ConcatDataset', datasets=[
        dict(type='repfusion_mm.FewLabels', dataset=data, num_labelled=2,
             part='unlabelled'),
        dict(type='repfusion_mm.FewLabels', dataset=data, num_labelled=2,
             part='labelled')]))
val_dataloader = dict(
    batch_size=1, num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(data, test_mode=True, pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(type='CocoMetric', ann_file='DATA/boxes.json',
                     metric='bbox')
test_evaluator = val_evaluator
train_cfg = dict(by_epoch=True, max_epochs=3, val_interval=3)
val_cfg = dict()
test_cfg = dict()
randomness = dict(seed=0)
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.01, momentum=0.9))
default_hooks = dict(
    logger=dict(type='LoggerHook', interval=1),
    checkpoint=dict(type='CheckpointHook', interval=3),
    visualization=dict(type='DetVisualizationHook', score_thr=0.))
vis_backends = [dict(type='LocalVisBackend')]
visualizer = dict(type='DetLocalVisualizer', vis_backends=vis_backends,
                  name='visualizer')
'''


def write_boxes(folder, count):
    """Bright squares on noise, and their boxes as COCO has them."""
    rng = np.random.default_rng(0)
    (folder / 'images').mkdir(parents=True)
    annotations = []
    for index in range(count):
        image = rng.integers(0, 60, (SIDE, SIDE, 3)).astype(np.uint8)
        for kind, (width, height) in enumerate([(16, 16), (40, 16)]):
            x, y = rng.integers(0, 20), rng.integers(0, 12) + 32 * kind
            image[y:y + height, x:x + width, kind] = 250
            annotations.append(dict(
                id=len(annotations), image_id=index, category_id=kind + 1,
                iscrowd=0, area=width * height,
                bbox=[int(x), int(y), width, height]))
        cv2.imwrite(str(folder / f'images/{index}.png'), image)
    (folder / 'boxes.json').write_text(json.dumps(dict(
        images=[dict(id=i, file_name=f'{i}.png', width=SIDE, height=SIDE)
                for i in range(count)],
        annotations=annotations,
        categories=[dict(id=1, name='small'), dict(id=2, name='wide')])))


@pytest.fixture(scope='module')
def trained(stock, pipeline_folder, tmp_path_factory):
    """A folder in which mmdet's train.py has been run, without a teacher."""
    folder = tmp_path_factory.mktemp('mmdet')
    write_boxes(folder / 'data', 4)
    shutil.copytree(pipeline_folder, folder / 'teacher')
    (folder / 'joint.py').write_text(
        CONFIG.replace('DATA', str(folder / 'data')))
    stock('mmdet', 'train.py', 'joint.py', cwd=folder)
    (folder / 'teacher').rename(folder / 'gone')
    return folder


def test_train(trained, rows, weights):
    work = trained / 'work_dirs/joint'
    logged = rows(work)
    assert [row['step'] for row in logged] == [1, 2, 3]
    for row in logged:
        assert {'loss_cls', 'loss_bbox', 'loss_feature', 'mean_t'} < set(row)
        assert np.isfinite(list(row.values())).all()
    assert {key.split('.')[0] for key in weights(work / 'epoch_3.pth')} == {
        'task', 'connections'}


def test_test(trained, stock, task_alone, tmp_path):
    checkpoint = trained / 'work_dirs/joint/epoch_3.pth'
    printed = stock(
        'mmdet', 'test.py', 'joint.py', checkpoint, '--work-dir', tmp_path,
        '--show-dir', 'show', '--out', tmp_path / 'out.pkl',
        cwd=trained)
    assert 'coco/bbox_mAP' in printed
    import pickle
    found = pickle.loads((tmp_path / 'out.pkl').read_bytes())
    alone = task_alone(trained / 'joint.py', checkpoint)
    assert len(found) == len(alone) == 4
    for ours, theirs in zip(found, alone):
        assert len(theirs.pred_instances) == 10
        for key in ('bboxes', 'scores', 'labels'):
            assert torch.equal(ours['pred_instances'][key],
                               theirs.pred_instances[key])
    assert len(list(tmp_path.rglob('*.png'))) == 4


def test_our_tools(trained, root, tool, monkeypatch, tmp_path):
    monkeypatch.chdir(trained)
    arguments = ['joint.py', str(trained / 'work_dirs/joint/epoch_3.pth'),
                 '--work-dir', str(tmp_path)]
    metrics = tool('test').main([*arguments, '--show-dir',
                                 str(tmp_path / 'show')])
    assert 'coco/bbox_mAP' in metrics
    assert len(list((tmp_path / 'show').glob('*.png'))) == 4
    shutil.copytree(trained / 'gone', tmp_path / 'teacher')
    shutil.copy(trained / 'joint.py', tmp_path)
    monkeypatch.chdir(tmp_path)
    tool('train').main(['joint.py', '--work-dir', 'ours', '--cfg-options',
                        'train_cfg.max_epochs=1'])
    assert (tmp_path / 'ours/epoch_1.pth').exists() or \
        (tmp_path / 'ours/last_checkpoint').exists()


def test_published(trained, publish, task_alone):
    """By mmdet's own functions and a plain config."""
    from mmdet.apis import inference_detector, init_detector
    checkpoint = trained / 'work_dirs/joint/epoch_3.pth'
    config, weights = publish(trained / 'joint.py', checkpoint)
    model = init_detector(config, weights, device='cpu')
    for sample in task_alone(trained / 'joint.py', checkpoint):
        found = inference_detector(model, sample.img_path)
        assert torch.equal(found.pred_instances.bboxes,
                           sample.pred_instances.bboxes)


def test_backbone_of_stage_one(trained, tool, tmp_path, weights):
    """What --to mmdet writes starts a stock detector, and all arrives."""
    from mmengine.runner import Runner
    checkpoint = trained / 'work_dirs/joint/epoch_3.pth'
    out = str(tmp_path / 'student.pth')
    tool('model_converters/publish_student').main(
        [str(checkpoint), out, '--to', 'mmdet', '--backbone-only'])
    cfg = Config.fromfile(trained / 'joint.py')
    cfg.model = cfg.model.task
    cfg.model.backbone.init_cfg = dict(type='Pretrained', checkpoint=out,
                                       prefix='backbone.')
    cfg.work_dir = str(tmp_path / 'work')
    cfg.train_dataloader.dataset = cfg.data
    cfg.custom_hooks = [dict(type='repfusion_mm.PretrainedCheckHook')]
    cfg.optim_wrapper.optimizer.lr = 0.
    cfg.train_cfg.max_epochs = 1
    runner = Runner.from_cfg(cfg)
    runner.train()
    for key, value in weights(checkpoint).items():
        if key.startswith('task.backbone.') and key.endswith('weight'):
            assert torch.equal(
                runner.model.state_dict()[key[len('task.'):]], value)
