"""mmpretrain's tools on both stages, and on a joint classifier."""
import pickle
import shutil

import numpy as np
import pytest
import torch
from mmengine.config import Config

STAGE_1 = 'configs/demo/repfusion_resnet18_reinforced_digits.py'
STAGE_2 = 'configs/demo/resnet18_repfusion_digits.py'
# the demo's classifier; its data preprocessor is at the top level
CONFIG = '''
_base_ = 'ROOT/configs/demo/resnet18_scratch_digits.py'
model = dict(
    _delete_=True,
    type='repfusion_mm.JointRepFusion',
    task={{_base_.model}},
    teacher=dict(type='repfusion_mm.UNetTeacher', pretrained='teacher'),
    time_sampler=dict(type='repfusion_mm.ReinforcedTime', num_bins=20),
    reward=dict(type='repfusion_mm.ClassificationReward', num_classes=10),
    connections=[
        dict(student_tap='backbone.layer4', teacher_tap='mid_block.resnets.1',
             loss=dict(type='repfusion_mm.HintLoss', pool=True))])
custom_hooks = [dict(type='repfusion_mm.TimeSamplerHook', interval=1)]
train_dataloader = dict(batch_size=8)
test_dataloader = dict(dataset=dict(indices=30))
train_cfg = dict(max_iters=3, val_interval=3)
default_hooks = dict(logger=dict(interval=1), checkpoint=dict(interval=3))
param_scheduler = None
'''


@pytest.fixture(scope='module')
def checkout(root, tmp_path_factory):
    """A folder from which this repository's configs run."""
    folder = tmp_path_factory.mktemp('checkout')
    (folder / 'configs').symlink_to(root / 'configs')
    return folder


@pytest.fixture(scope='module')
def stage_1(stock, checkout):
    """The work dir of stage 1."""
    stock('mmpretrain', 'train.py', STAGE_1, '--work-dir', 'one',
          '--cfg-options', 'train_cfg.max_iters=3', 'param_scheduler=None',
          'default_hooks.logger.interval=1', cwd=checkout)
    return checkout / 'one'


@pytest.fixture(scope='module')
def stage_2(stock, checkout, stage_1):
    """The work dir of stage 2, of which no step moves the weights."""
    stock('mmpretrain', 'train.py', STAGE_2, '--work-dir', 'two',
          '--cfg-options', 'train_cfg.max_iters=1', 'param_scheduler=None',
          'train_cfg.val_interval=1', 'optim_wrapper.optimizer.lr=0',
          'model.backbone.init_cfg.checkpoint=one/iter_3.pth', cwd=checkout)
    return checkout / 'two'


@pytest.fixture(scope='module')
def trained(stock, root, pipeline_folder, tmp_path_factory):
    """A folder in which a joint classifier was trained, without a teacher."""
    folder = tmp_path_factory.mktemp('mmpretrain')
    shutil.copytree(pipeline_folder, folder / 'teacher')
    (folder / 'joint.py').write_text(CONFIG.replace('ROOT', str(root)))
    stock('mmpretrain', 'train.py', 'joint.py', cwd=folder)
    (folder / 'teacher').rename(folder / 'gone')
    return folder


def predictions(path):
    return pickle.loads(path.read_bytes())


def test_workers(root):
    """mmpretrain's train.py keeps the workers of a loader that does not say.

    PyTorch refuses that for a loader which has none.
    """
    for path in root.glob('configs/demo/*.py'):
        cfg = Config.fromfile(path)
        for name in ('train', 'val', 'test'):
            loader = cfg.get(f'{name}_dataloader') or {}
            if loader.get('num_workers') == 0:
                assert loader.get('persistent_workers') is False, path


@pytest.mark.slow
def test_stage_1(stage_1, rows, weights):
    logged = rows(stage_1)
    assert [row['step'] for row in logged] == [1, 2, 3]
    for row in logged:
        assert {'loss_feature', 'loss_policy', 'mean_t',
                'mean_reward'} < set(row)
        assert np.isfinite(list(row.values())).all()
    assert {key.split('.')[0] for key in weights(stage_1 / 'iter_3.pth')} == {
        'backbone', 'connections', 'time_sampler', 'reward'}


@pytest.mark.slow
def test_stage_2_starts_from_it(stage_1, stage_2, weights):
    one = weights(stage_1 / 'iter_3.pth')
    two = weights(stage_2 / 'iter_1.pth')
    learned = [key for key in two if key.startswith('backbone.')
               and key.endswith(('weight', 'bias'))]
    assert len(learned) == 60  # of a ResNet-18
    for key in learned:
        assert torch.equal(one[key], two[key])


@pytest.mark.slow
def test_stage_2_is_tested(stage_2, checkout, stock, tmp_path):
    out = tmp_path / 'out.pkl'
    printed = stock('mmpretrain', 'test.py', STAGE_2, stage_2 / 'iter_1.pth',
                    '--out', out, '--work-dir', tmp_path, cwd=checkout)
    results = predictions(out)
    hits = [bool(r['pred_label'] == r['gt_label']) for r in results]
    assert len(hits) == 500
    assert f'accuracy/top1: {100 * np.mean(hits):.4f}' in printed


def test_train(trained, rows, weights):
    work = trained / 'work_dirs/joint'
    logged = rows(work)
    assert [row['step'] for row in logged] == [1, 2, 3]
    for row in logged:
        assert {'loss', 'loss_feature', 'loss_policy', 'mean_t'} < set(row)
        assert np.isfinite(list(row.values())).all()
    assert len((work / 'time_steps.jsonl').read_text().splitlines()) == 3
    assert {key.split('.')[0] for key in weights(work / 'iter_3.pth')} == {
        'task', 'connections', 'time_sampler', 'reward'}


def test_test(trained, stock, task_alone, tmp_path):
    checkpoint = trained / 'work_dirs/joint/iter_3.pth'
    stock('mmpretrain', 'test.py', 'joint.py', checkpoint, '--work-dir',
          tmp_path, '--out', tmp_path / 'out.pkl', '--show-dir',
          tmp_path / 'show', cwd=trained)
    results = predictions(tmp_path / 'out.pkl')
    alone = task_alone(trained / 'joint.py', checkpoint)
    assert len(results) == len(alone) == 30
    for result, sample in zip(results, alone):
        torch.testing.assert_close(result['pred_score'], sample.pred_score)
    assert len(list((tmp_path / 'show').rglob('*.png'))) == 30


def test_inference(trained, publish, task_alone):
    """The published model by mmpretrain's inferencer and a plain config."""
    from mmengine.registry import DATASETS, DefaultScope
    from mmpretrain.apis import ImageClassificationInferencer
    checkpoint = trained / 'work_dirs/joint/iter_3.pth'
    config, weights = publish(trained / 'joint.py', checkpoint)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        images = DATASETS.build(
            Config.fromfile(config).test_dataloader.dataset)
    infer = ImageClassificationInferencer(config, weights, device='cpu')
    found = infer([images.get_data_info(index)['img']
                   for index in range(len(images))])
    alone = task_alone(trained / 'joint.py', checkpoint)
    assert len(found) == len(alone) == 30
    for result, sample in zip(found, alone):
        np.testing.assert_allclose(result['pred_scores'], sample.pred_score,
                                   rtol=1e-4)


@pytest.mark.slow
def test_browse_dataset(trained, stock, tmp_path):
    stock('mmpretrain', 'visualization/browse_dataset.py', 'joint.py', '-o',
          tmp_path, '--not-show', '-n', 5, '-p', 'test', '-m', 'original',
          cwd=trained)
    assert len(list(tmp_path.glob('*'))) == 5


@pytest.mark.slow
def test_tta(trained, stock, task_alone, tmp_path):
    """The mean of the scores of an image and of its mirror image."""
    checkpoint = trained / 'work_dirs/joint/iter_3.pth'
    out = tmp_path / 'out.pkl'
    stock('mmpretrain', 'test.py', 'joint.py', checkpoint, '--tta',
          '--work-dir', tmp_path, '--out', out, cwd=trained)
    mirrored = trained / 'mirrored.py'
    mirrored.write_text('''
_base_ = './joint.py'
test_dataloader = dict(dataset=dict(pipeline=[
    dict(type='RandomFlip', prob=1.), dict(type='PackInputs')]))
''')
    plain, flipped = (
        torch.stack([sample.pred_score for sample
                     in task_alone(config, checkpoint)])
        for config in (trained / 'joint.py', mirrored))
    assert not torch.allclose(plain, flipped)
    merged = torch.stack([r['pred_score'] for r in predictions(out)])
    torch.testing.assert_close(merged, (plain + flipped) / 2)
