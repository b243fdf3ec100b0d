"""mmseg's tools on a joint segmentor."""
import shutil

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner

CONFIG = '''
default_scope = 'mmseg'
model = dict(
    type='repfusion_mm.JointRepFusion',
    task=dict(
        type='mmseg.EncoderDecoder',
        data_preprocessor=dict(
            type='SegDataPreProcessor', mean=[127.5] * 3, std=[127.5] * 3,
            bgr_to_rgb=True, size=(32, 32), seg_pad_val=255),
        backbone=dict(type='ResNet', depth=18, base_channels=4,
                      stem_channels=4, strides=(1, 2, 1, 1),
                      norm_cfg=dict(type='BN')),
        decode_head=dict(
            type='FCNHead', in_channels=32, in_index=3, channels=8,
            num_convs=1, num_classes=3, norm_cfg=dict(type='BN'),
            loss_decode=dict(type='CrossEntropyLoss')),
        train_cfg=dict(), test_cfg=dict(mode='whole')),
    teacher=dict(type='repfusion_mm.UNetTeacher', pretrained='teacher'),
    time_sampler=dict(type='repfusion_mm.ReinforcedTime', num_bins=20),
    reward=dict(type='repfusion_mm.SegmentationReward', num_classes=3),
    connections=[
        dict(student_tap='backbone.layer4', teacher_tap='mid_block.resnets.1',
             loss=dict(type='repfusion_mm.HintLoss'))])
custom_hooks = [dict(type='repfusion_mm.TimeSamplerHook', interval=1)]

pipeline = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'),
            dict(type='PackSegInputs')]
train_dataloader = dict(
    batch_size=2, num_workers=0,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type='BaseSegDataset', data_root='DATA', pipeline=pipeline,
        img_suffix='.png',
        metainfo=dict(classes=('ground', 'small', 'wide'),
                      palette=[[0, 0, 0], [255, 0, 0], [0, 0, 255]]),
        data_prefix=dict(img_path='images', seg_map_path='masks')))
val_dataloader = dict(
    batch_size=1, num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=train_dataloader['dataset'])
test_dataloader = val_dataloader
val_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
test_evaluator = val_evaluator
train_cfg = dict(by_epoch=False, max_iters=3, val_interval=3)
val_cfg = dict()
test_cfg = dict()
randomness = dict(seed=0)
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.01, momentum=0.9))
default_hooks = dict(
    logger=dict(type='LoggerHook', interval=1),
    checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=3),
    visualization=dict(type='SegVisualizationHook', interval=1))
log_processor = dict(by_epoch=False)
vis_backends = [dict(type='LocalVisBackend')]
visualizer = dict(type='SegLocalVisualizer', vis_backends=vis_backends,
                  name='visualizer')
tta_model = dict(type='SegTTAModel')
tta_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='TestTimeAug', transforms=[
        [dict(type='RandomFlip', prob=prob, direction='horizontal')
         for prob in (0., 1.)],
        [dict(type='LoadAnnotations')], [dict(type='PackSegInputs')]])]
'''


@pytest.fixture(scope='module')
def trained(stock, write_masks, pipeline_folder, tmp_path_factory):
    """A folder in which mmseg's train.py has been run, without a teacher."""
    folder = tmp_path_factory.mktemp('mmseg')
    write_masks(folder / 'data', 4)
    shutil.copytree(pipeline_folder, folder / 'teacher')
    (folder / 'joint.py').write_text(
        CONFIG.replace('DATA', str(folder / 'data')))
    stock('mmseg', 'train.py', 'joint.py', cwd=folder)
    (folder / 'teacher').rename(folder / 'gone')
    return folder


def pixels(folder):
    return {path.stem: cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
            for path in folder.glob('*.png')}


@pytest.fixture
def checkpoint(trained, weights, tmp_path):
    """What was trained, with a classifier that does not favour a class."""
    state = weights(trained / 'work_dirs/joint/iter_3.pth')
    weight = torch.randn_like(state['task.decode_head.conv_seg.weight'])
    weight -= weight.mean(1, keepdim=True)
    state['task.decode_head.conv_seg.weight'] = weight
    state['task.decode_head.conv_seg.bias'].zero_()
    torch.save(dict(state_dict=state), tmp_path / 'checkpoint.pth')
    return tmp_path / 'checkpoint.pth'


def test_train(trained, rows, weights):
    work = trained / 'work_dirs/joint'
    logged = rows(work)
    assert [row['step'] for row in logged] == [1, 2, 3]
    for row in logged:
        assert {'decode.loss_ce', 'loss_feature', 'loss_policy',
                'mean_t'} < set(row)
        assert np.isfinite(list(row.values())).all()
    assert len((work / 'time_steps.jsonl').read_text().splitlines()) == 3
    assert {key.split('.')[0] for key in weights(work / 'iter_3.pth')} == {
        'task', 'connections', 'time_sampler', 'reward'}


def test_test(trained, checkpoint, stock, task_alone, tmp_path):
    printed = stock(
        'mmseg', 'test.py', 'joint.py', checkpoint, '--work-dir', tmp_path,
        '--out', tmp_path / 'out', '--show-dir', tmp_path / 'show',
        cwd=trained)
    assert 'mIoU' in printed
    masks = pixels(tmp_path / 'out')
    assert sorted(masks) == ['0', '1', '2', '3']
    assert len(np.unique(list(masks.values()))) > 1
    alone = task_alone(trained / 'joint.py', checkpoint)
    for sample in alone:
        name = sample.img_path.split('/')[-1][:-len('.png')]
        assert np.array_equal(masks[name], sample.pred_sem_seg.data[0])
    shown = list((tmp_path / 'show').rglob('test_*.png'))
    assert len(shown) == 4


def test_our_test_tool(trained, checkpoint, tool, monkeypatch, tmp_path):
    monkeypatch.chdir(trained)
    metrics = tool('test').main([
        'joint.py', str(checkpoint), '--work-dir', str(tmp_path),
        '--show-dir', str(tmp_path / 'show')])
    assert 'mIoU' in metrics
    assert len(list((tmp_path / 'show').rglob('test_*.png'))) == 4


def test_inference(trained, checkpoint, publish, task_alone, tmp_path):
    """The published model by mmseg's own functions and a plain config."""
    from mmseg.apis import inference_model, init_model
    config, weights = publish(trained / 'joint.py', checkpoint)
    model = init_model(config, weights, device='cpu', cfg_options=dict(
        test_pipeline=Config.fromfile(config).pipeline))
    for sample in task_alone(trained / 'joint.py', checkpoint):
        found = inference_model(model, sample.img_path)
        assert torch.equal(found.pred_sem_seg.data, sample.pred_sem_seg.data)


@pytest.mark.parametrize('hooked', [True, False])
@pytest.mark.parametrize('rewarded, key', [
    (True, 'reward'), (False, 'task.decode_head')])
def test_mask_of_no_class(rewarded, key, hooked, write_masks,
                          pipeline_folder, tmp_path, monkeypatch):
    """The training stops, and says which file it is.

    With the hook it does so before a step, which a GPU would not survive.
    """
    pytest.importorskip('mmseg.models')
    write_masks(tmp_path / 'data', 1)
    path = tmp_path / 'data/masks/0.png'
    mask = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    mask[:2, :2], mask[3, 3] = 7, 90
    cv2.imwrite(str(path), mask)
    cfg = Config.fromstring(CONFIG.replace('DATA', str(tmp_path / 'data')),
                            '.py')
    cfg.work_dir = str(tmp_path)
    cfg.train_dataloader.batch_size = 1
    cfg.model.teacher.pretrained = pipeline_folder
    if not rewarded:
        cfg.model.pop('reward')
        cfg.model.time_sampler = dict(type='repfusion_mm.UniformTime')
    if not hooked:
        cfg.pop('custom_hooks')
    runner = Runner.from_cfg(cfg)
    if hooked:
        monkeypatch.setattr(runner.model, 'train_step', None)
    with pytest.raises(ValueError, match=f'{path}.*ids 7, 90, but `{key}.'
                       'num_classes` is 3: expected 0 to 2'):
        runner.train()


@pytest.mark.slow
def test_browse_dataset(trained, stock, tmp_path):
    import mmseg
    if mmseg.__version__ == '1.2.2':
        pytest.skip('its visualizer gives OpenCV 4.11 what it cannot draw on')
    stock('mmseg', 'analysis_tools/browse_dataset.py', 'joint.py',
          '--output-dir', tmp_path, '--not-show', cwd=trained)
    assert sorted(path.name for path in tmp_path.glob('*.png')) == [
        '0.png', '1.png', '2.png', '3.png']


@pytest.mark.slow
def test_tta(trained, checkpoint, stock, task_alone, tmp_path):
    """The mean of the probabilities of an image and of its mirror image."""
    printed = stock(
        'mmseg', 'test.py', 'joint.py', checkpoint, '--tta', '--work-dir',
        tmp_path, '--out', tmp_path / 'out', cwd=trained)
    assert 'mIoU' in printed
    plain = task_alone(trained / 'joint.py', checkpoint)
    mirrored = trained / 'mirrored.py'
    mirrored.write_text('''
_base_ = './joint.py'
test_dataloader = dict(dataset=dict(pipeline=[
    dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'),
    dict(type='RandomFlip', prob=1., direction='horizontal'),
    dict(type='PackSegInputs')]))
''')
    masks = pixels(tmp_path / 'out')
    assert len(masks) == 4
    for one, other in zip(plain, task_alone(mirrored, checkpoint)):
        # mmseg has flipped the second one's back
        mean = one.seg_logits.data.softmax(0) + \
            other.seg_logits.data.softmax(0)
        name = one.img_path.split('/')[-1][:-len('.png')]
        assert (masks[name] != mean.argmax(0).numpy()).mean() < 0.01


@pytest.mark.slow
def test_resume(trained, stock, rows, tmp_path):
    """With the teacher back; to be trained it must be there."""
    shutil.copytree(trained / 'gone', tmp_path / 'teacher')
    shutil.copy(trained / 'joint.py', tmp_path)
    shutil.copytree(trained / 'work_dirs/joint', tmp_path / 'work')
    for old in (tmp_path / 'work').glob('2*'):
        shutil.rmtree(old)
    (tmp_path / 'work/last_checkpoint').write_text(
        str(tmp_path / 'work/iter_3.pth'))
    stock('mmseg', 'train.py', 'joint.py', '--resume', '--work-dir', 'work',
          '--cfg-options', 'train_cfg.max_iters=5', cwd=tmp_path)
    assert [row['step'] for row in rows(tmp_path / 'work')] == [4, 5]
