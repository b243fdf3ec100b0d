"""Two steps of each config, by the real Runner on data in the real format.

Students are as large as they are, teachers are shrunken. One config of each
kind runs always, the others only among the slow tests.
"""
import importlib.util
import json
import os
import pickle
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import MODELS, DefaultScope
from mmengine.runner import Runner

from tests.published.layouts import LAYOUTS

ROOT = Path(__file__).resolve().parents[2]
KINDS = {
    'configs/distill/repfusion_resnet18_1xb128-200e_cifar10.py',
    'configs/distill/repfusion-uniform_resnet18_1xb128-200e_cifar10.py',
    'configs/distill/repfusion-contrastive_resnet18_1xb128-200e_cifar10.py',
    'configs/distill/repfusion-bank_resnet18_1xb128-200e_cifar10.py',
    'configs/distill/hint_resnet18_resnet50-teacher_1xb128-200e_cifar10.py',
    'configs/distill/soft-labels_resnet18_resnet50-teacher_1xb128-200e_'
    'cifar10.py',
    'configs/distill/repfusion_resnet18_1xb64-200e_tiny-imagenet.py',
    'configs/mmpretrain/resnet18_1xb128-200e_cifar10.py',
    'configs/mmpretrain/resnet18_repfusion-init_1xb128-200e_cifar10.py',
    'configs/dpm/unet_32px_cifar10.py',
    'configs/distill/repfusion_resnet18_celebahq.py',
    'configs/mmseg/bisenetv1-r18_2xb8-160k_celebamask-hq-448x448.py',
    'configs/mmpose/resnet50_8xb64-60e_wflw-256x256.py',
    'configs/joint/joint-repfusion_bisenetv1-r18_2xb8-160k_celebamask-hq-'
    '448x448.py',
    'configs/joint/joint-repfusion_resnet50_8xb64-60e_wflw-256x256.py',
    'configs/mmdet/retinanet-r50_repfusion-init_8xb4-1x_coco.py',
    'configs/joint/joint-repfusion_retinanet-r50_8xb4-1x_coco.py',
}
# the demo's have tests of their own; a probe is no training
PATHS = sorted(
    str(path.relative_to(ROOT))
    for folder in ('distill', 'dpm', 'joint', 'mmdet', 'mmpose', 'mmpretrain',
                   'mmseg')
    for path in ROOT.glob(f'configs/{folder}/*.py')
    if not path.name.startswith('probe'))
TRANSFORMER = dict(  # widths of thin ones; their blocks are all there
    num_attention_heads=2, attention_head_dim=8, cross_attention_dim=16,
    num_cross_attention_heads=2, cross_attention_head_dim=8,
    caption_channels=8, joint_attention_dim=24, caption_projection_dim=16,
    pooled_projection_dim=10)
METRICS = dict(mmpretrain='accuracy/top1', mmseg='mIoU', mmpose='NME',
               mmdet='coco/bbox_mAP')
FLAGS = dict(num_channels=32, num_res_blocks=1, num_head_channels=16)
RNG = np.random.default_rng(0)


def images(folder, names, size=(64, 64)):
    """Writes images of noise."""
    folder.mkdir(parents=True)
    for name in names:
        pixels = RNG.integers(0, 256, (*size, 3), dtype=np.uint8)
        (folder / name).write_bytes(cv2.imencode('.jpg', pixels)[1])


def write_cifar(folder, sizes, key):
    folder.mkdir(parents=True)
    for name, size in sizes.items():
        pixels = RNG.integers(0, 256, (size, 3072), dtype=np.uint8)
        labels = [i % 4 for i in range(size)]
        (folder / name).write_bytes(pickle.dumps({'data': pixels,
                                                  key: labels}))


def write_tiny_imagenet(folder):
    ids = [f'n{i}' for i in range(4)]
    for one in ids:
        images(folder / f'train/{one}/images', ['0.JPEG', '1.JPEG'])
    images(folder / 'val/images', [f'{one}.JPEG' for one in ids])
    (folder / 'val/val_annotations.txt').write_text(
        ''.join(f'{one}.JPEG\t{one}\t0\t0\t1\t1\n' for one in ids))
    (folder / 'wnids.txt').write_text('\n'.join(ids))
    (folder / 'words.txt').write_text('n0\tzero\n')


def write_imagenet(folder):
    (folder / 'meta').mkdir(parents=True)
    for split, count in (('train', 8), ('val', 4)):
        names = [f'{i}.jpg' for i in range(count)]
        images(folder / split, names, (90, 120))
        (folder / f'meta/{split}.txt').write_text(
            ''.join(f'{name} {i * 100}\n' for i, name in enumerate(names)))


def write_folders(folder):
    images(folder / 'unlabelled', [f'{i}.jpg' for i in range(8)])
    for name in 'ab':
        images(folder / f'train/{name}', [f'{i}.jpg' for i in range(4)])
        images(folder / f'val/{name}', ['0.jpg', '1.jpg'])


def write_celebamask_hq(folder):
    for split, count in (('train', 4), ('val', 2), ('test', 2)):
        images(folder / f'images/{split}', [f'{i}.jpg' for i in range(count)],
               (512, 512))
        (folder / f'annotations/{split}').mkdir(parents=True)
        for i in range(count):  # blocks of each class, 0 to 18
            mask = RNG.integers(0, 19, (8, 8), dtype=np.uint8)
            cv2.imwrite(str(folder / f'annotations/{split}/{i}.png'),
                        mask.repeat(64, 0).repeat(64, 1))


def write_wflw(folder):
    images(folder / 'images', [f'{i}.jpg' for i in range(4)], (300, 260))
    people = []
    for i in range(4):
        keypoints = np.full((98, 3), 2.)
        keypoints[:, :2] = RNG.uniform(70, 190, (98, 2))
        people.append(dict(
            id=i, image_id=i, category_id=1, iscrowd=0, area=1.,
            bbox=[70, 70, 120, 120], center=[130, 130], scale=0.75,
            num_keypoints=98, keypoints=keypoints.ravel().tolist()))
    (folder / 'annotations').mkdir()
    for split, some in dict(train=range(4), test=range(2), test_blur=[0],
                            test_makeup=[1]).items():
        path = folder / f'annotations/face_landmarks_wflw_{split}.json'
        path.write_text(json.dumps(dict(
            images=[dict(id=i, file_name=f'{i}.jpg', width=260, height=300)
                    for i in some],
            annotations=[people[i] for i in some],
            categories=[dict(id=1, name='person')])))


def write_coco(folder):
    if importlib.util.find_spec('mmdet') is None:
        return
    from mmdet.datasets import CocoDataset
    names = CocoDataset.METAINFO['classes']
    (folder / 'annotations').mkdir(parents=True)
    for split, count in (('train2017', 4), ('val2017', 2)):
        images(folder / split, [f'{i}.jpg' for i in range(count)], (96, 128))
        boxes = [dict(id=i, image_id=i // 2, category_id=1 + i % 2, iscrowd=0,
                      bbox=[8 + 4 * i, 10, 60, 40], area=2400)
                 for i in range(2 * count)]
        (folder / f'annotations/instances_{split}.json').write_text(
            json.dumps(dict(
                images=[dict(id=i, file_name=f'{i}.jpg', width=128, height=96)
                        for i in range(count)], annotations=boxes,
                categories=[dict(id=i + 1, name=name)
                            for i, name in enumerate(names)])))


def thin(denoiser):
    """A denoiser's config with few channels."""
    levels = len(denoiser['block_out_channels'])
    return dict(denoiser, block_out_channels=(8, ) * levels,
                norm_num_groups=4, attention_head_dim=8)


def write_denoiser(folder, name):
    """The architecture of a released denoiser, but thin."""
    from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel
    cfg = Config.fromfile(ROOT / f'configs/dpm/{name}.py')
    DDPMPipeline(UNet2DModel(**thin(cfg.model.denoiser)),
                 DDPMScheduler()).save_pretrained(folder)


def write_pipeline(folder, name):
    """The architecture of a released pipeline, but thin; returns its path."""
    import diffusers

    from repfusion_mm.models.teachers.diffusion.conditions.store import (
        ConditionStore,
    )
    from repfusion_mm.models.teachers.diffusion.conditions.text_encoders import (  # noqa: E501
        TextEncoders,
    )
    from repfusion_mm.models.teachers.diffusion.sources import find_family
    from repfusion_mm.models.teachers.diffusion.sources.files import Folder
    from repfusion_mm.models.teachers.diffusion.sources.folder import Options
    from repfusion_mm.models.teachers.diffusion.sources.layout import (
        open_layout,
    )
    shutil.copytree(ROOT / 'tests/published' / name, folder / name)
    told = dict(cross_attention_dim=16, transformer_layers_per_block=1,
                addition_time_embed_dim=8,
                projection_class_embeddings_input_dim=6 * 8 + 10)
    for path in (folder / name).glob('*/config.json'):
        config = json.loads(path.read_text())
        small = TRANSFORMER if path.parent.name == 'transformer' else told
        config.update({key: value for key, value in small.items()
                       if key in config})
        if 'block_out_channels' in config:
            config = thin(config)
        if 'attention_head_dim' in config and small is told:
            config['attention_head_dim'] = 4
        part = getattr(diffusers, config['_class_name'], None)
        if part is None:  # of a newer diffusers
            return
        for side in ('encoder', 'decoder'):  # a deep autoencoder's
            if f'{side}_block_out_channels' in config:
                config[f'{side}_block_out_channels'] = [32] * 6
        if 'Flux' in config['_class_name']:
            config['axes_dims_rope'] = [2, 2, 4]
        part.from_config(config).save_pretrained(path.parent)
    if name[:3] in ('dit', 'ldm'):
        return
    for suffix in ('', '_2', '_3'):
        for part in (f'tokenizer{suffix}', f'text_encoder{suffix}'):
            (folder / name / part).mkdir()
            (folder / name / part / 'config.json').write_text('{}')
    source = find_family(open_layout(str(folder / name)))
    source = source(open_layout(str(folder / name)), Options())
    source.build()
    encoders = TextEncoders(Folder(str(folder / name)), source.layout.index,
                            source.text_parts)
    ConditionStore(str(folder / 'prompts'), encoders.identity).put(
        '', {key: torch.ones(1, *shape)
             for key, shape in source.text_shapes().items()})


def write_guided_diffusion(path, preset='64x64'):
    """The released denoiser's architecture, but thin."""
    from repfusion_mm.models.teachers.diffusion.sources.guided.flags import (
        settle_flags,
    )
    spec = importlib.util.spec_from_file_location(
        'guided_unet', ROOT / 'tests/test_models/test_teachers/guided_unet.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(module.GuidedUNet(**settle_flags(preset, FLAGS)).state_dict(),
               path)


@pytest.fixture(scope='module')
def sandbox(tmp_path_factory):
    """A checkout with data and teachers, which configs name relatively."""
    folder = tmp_path_factory.mktemp('sandbox')
    (folder / 'configs').symlink_to(ROOT / 'configs')
    data = folder / 'data'
    write_cifar(data / 'cifar10/cifar-10-batches-py', dict(
        data_batch_1=4, data_batch_2=1, data_batch_3=1, data_batch_4=1,
        data_batch_5=1, test_batch=4), 'labels')
    write_cifar(data / 'cifar100/cifar-100-python', dict(train=8, test=4),
                'fine_labels')
    write_tiny_imagenet(data / 'tiny-imagenet-200')
    write_imagenet(data / 'imagenet')
    write_folders(data / 'my_images')
    images(data / 'faces/images/train', [f'{i}.jpg' for i in range(8)])
    for split in ('train', 'test'):
        images(data / f'cifar10_images/{split}/cat',
               [f'{i}.jpg' for i in range(8)])
    write_guided_diffusion(data / 'guided_diffusion/64x64_diffusion.pt')
    write_guided_diffusion(
        data / 'guided_diffusion/256x256_diffusion_uncond.pt',
        '256x256_uncond')
    for name in LAYOUTS.values():
        write_pipeline(folder / 'pipelines', name)
    write_celebamask_hq(data / 'celebamask_hq')
    write_wflw(data / 'wflw')
    write_coco(data / 'coco')
    write_denoiser(folder / 'denoiser', 'unet_32px_cifar10')
    write_denoiser(folder / 'celebahq', 'unet_256px_celebahq')
    return folder


class Record(Hook):
    """The losses, and the weights that training starts from."""
    priority = 'VERY_LOW'

    def before_train(self, runner):
        self.start = weights(runner.model)

    def after_train(self, runner):
        scalars = runner.message_hub.log_scalars
        self.losses = {name[len('train/'):]: scalars[name].data[0]
                       for name in scalars if name.startswith('train/')
                       and 'loss' in name}


def weights(model):
    part = model.backbone if hasattr(model, 'backbone') else model.denoiser
    return {key: value.clone() for key, value in part.state_dict().items()}


def build(model, scope):
    with DefaultScope.overwrite_default_scope(scope):
        return MODELS.build(model)


def student(cfg):
    """The part of a task's model that stage 1 distils, and where it is."""
    backbone = cfg.model.get('backbone', {})
    if 'backbone_cfg' in backbone:  # BiSeNetV1
        return backbone.backbone_cfg, 'context_path.backbone.'
    return backbone, ''


def shrink(cfg, work_dir):
    """Two steps of four images, or two large ones, and a small teacher."""
    faces = any(name in cfg.filename for name in ('celeba', 'wflw', 'coco'))
    by_epoch = cfg.train_cfg.by_epoch
    steps = dict(max_epochs=1, val_interval=1) if by_epoch else \
        dict(max_iters=2, val_interval=2)
    cfg.merge_from_dict(dict(
        work_dir=str(work_dir), train_cfg=steps,
        param_scheduler=None,  # its warm-up is longer
        default_hooks=dict(
            logger=dict(interval=1),
            checkpoint=dict(interval=1 if by_epoch else 2))))
    for split in ('train', 'val', 'test'):
        if cfg.get(f'{split}_dataloader'):
            cfg[f'{split}_dataloader'].update(
                batch_size=2 if faces else 4, num_workers=0,
                persistent_workers=False)
            for step in cfg[f'{split}_dataloader'].dataset.get('pipeline', ()):
                if step.get('scale') == (1333, 800):  # of COCO
                    step.scale = (160, 96)
    if cfg.default_scope == 'mmdet':  # two steps find nothing above 0.05
        cfg.model.get('task', cfg.model).test_cfg.score_thr = 0.
    teacher = cfg.model.get('teacher', dict(type=''))
    if 'bank' in teacher:
        teacher.bank = str(work_dir / 'bank')
        teacher = teacher.teacher
    if teacher['type'] == 'repfusion_mm.UNetTeacher':
        teacher.pretrained = 'celebahq' if 'celebahq' in teacher.pretrained \
            else 'denoiser'
    elif teacher['type'] == 'repfusion_mm.DiffusionTeacher':
        teacher.pretrained = f'pipelines/{LAYOUTS[teacher.pretrained]}'
        teacher.condition_dir = 'pipelines/prompts'
        teacher.pop('variant', None)
    elif teacher['type'] == 'repfusion_mm.GuidedDiffusionTeacher':
        teacher.update(FLAGS)
    if cfg.model.type == 'repfusion_mm.DPM':
        cfg.model.denoiser.update(thin(cfg.model.denoiser))
        cfg.custom_hooks[-1].update(num_samples=1, sampling_steps=2)


def checkpoint_of(cfg):
    """Writes the checkpoint that a config starts from; returns its path."""
    if cfg.model.get('teacher', {}).get('type') == \
            'repfusion_mm.ClassifierTeacher':
        path, prefix = cfg.model.teacher.checkpoint, ''
        model = build(Config.fromfile(cfg.model.teacher.model).model,
                      cfg.default_scope)
    elif 'init_cfg' in student(cfg)[0]:
        backbone = dict(student(cfg)[0])
        path, prefix = backbone.pop('init_cfg').checkpoint, 'backbone.'
        model = build(backbone, cfg.default_scope)
    else:
        return None
    os.makedirs(os.path.dirname(path), exist_ok=True)
    torch.save(dict(state_dict={prefix + key: value for key, value
                                in model.state_dict().items()}), path)
    return path


def let_cifar_be(path, monkeypatch):
    """The images are not the released ones, and their checksums differ."""
    if 'cifar' in path:
        from mmpretrain.datasets import CIFAR10
        monkeypatch.setattr(CIFAR10, '_check_integrity', lambda self: True)


def trained(cfg):
    runner, record = Runner.from_cfg(cfg), Record()
    runner.register_hook(record)
    runner.train()
    return runner, record


@pytest.mark.parametrize('path', [
    pytest.param(path, marks=() if path in KINDS else pytest.mark.slow)
    for path in PATHS])
def test_two_steps(sandbox, monkeypatch, tmp_path, path):
    monkeypatch.chdir(sandbox)
    cfg = Config.fromfile(path)
    scope = cfg.get('backbone', {}).get('type', '').split('.')[0]
    for name in {'mmseg', 'mmpose', 'mmdet'} & {cfg.default_scope, scope}:
        pytest.importorskip(name)
    let_cifar_be(path, monkeypatch)
    shrink(cfg, tmp_path)
    given = checkpoint_of(cfg)
    runner, record = trained(cfg)

    assert len(record.losses['loss']) == 2
    assert all(len(one) == 2 and np.isfinite(one).all()
               for one in record.losses.values())
    end = weights(runner.model)
    moved = [key for key in end if not torch.equal(end[key],
                                                   record.start[key])]
    assert len(moved) > 0.5 * len(end)
    saved = torch.load((tmp_path / 'last_checkpoint').read_text(),
                       weights_only=False)['state_dict']
    prefix = 'task.backbone.' if 'task' in cfg.model else 'backbone.'
    if 'denoiser' not in cfg.model:
        kept = {key[len(prefix):] for key in saved if key.startswith(prefix)}
        assert kept == set(end)
    if 'teacher' in cfg.model:
        assert not any(key.startswith('teacher.') for key in saved)
        learns = cfg.model.time_sampler.type == 'repfusion_mm.ReinforcedTime'
        assert ('loss_policy' in record.losses) == learns
    if cfg.get('val_dataloader'):
        metric = runner.message_hub.get_scalar(
            f'val/{METRICS[cfg.default_scope]}').current()
        assert 0 <= metric <= 100
    if 'denoiser' in cfg.model:
        assert (tmp_path / 'dpm/unet/config.json').is_file()
    if given and 'teacher' not in cfg.model:
        # the step began at the distilled weights
        distilled = torch.load(given)['state_dict']
        where = student(cfg)[1]
        start = {key[len(where):]: value for key, value
                 in record.start.items() if key.startswith(where)}
        assert {f'backbone.{key}' for key in start} == set(distilled)
        for key, value in start.items():
            assert torch.equal(value, distilled[f'backbone.{key}'])
    if given:
        os.remove(given)


@pytest.mark.slow
@pytest.mark.parametrize('path', sorted(
    path for path in KINDS if 'teacher' not in path and 'init' not in path))
def test_bfloat16(sandbox, monkeypatch, tmp_path, path):
    """Losses, rewards and heads of each library under ``--amp`` on a CPU."""
    monkeypatch.chdir(sandbox)
    cfg = Config.fromfile(path)
    pytest.importorskip(cfg.default_scope)
    let_cifar_be(path, monkeypatch)
    shrink(cfg, tmp_path)
    cfg.optim_wrapper.type = 'repfusion_mm.BFloat16OptimWrapper'
    runner, record = trained(cfg)
    assert all(len(one) == 2 and np.isfinite(one).all()
               for one in record.losses.values())
    assert torch.bfloat16 not in {one.dtype for one in
                                  runner.model.state_dict().values()}


@pytest.mark.slow
@pytest.mark.parametrize('path', sorted(
    path for path in PATHS if path.startswith('configs/joint/') and
    'retinanet' not in path))
def test_look_and_held_out_reward(sandbox, monkeypatch, tmp_path, path):
    """The README's policy, inside the training of any task."""
    monkeypatch.chdir(sandbox)
    cfg = Config.fromfile(path)
    pytest.importorskip(cfg.default_scope)
    let_cifar_be(path, monkeypatch)
    shrink(cfg, tmp_path)
    cfg.model.time_sampler = dict(
        type='repfusion_mm.ReinforcedTime', num_bins=20, look=True,
        entropy_weight=0.)
    cfg.model.reward = dict(type='repfusion_mm.HeldOutReward')
    hook = 'repfusion_mm.TimeSamplerHook'
    cfg.custom_hooks = [dict(type=hook), *(
        one for one in cfg.custom_hooks if one.type != hook)]
    _, record = trained(cfg)
    look = json.loads((tmp_path / 'look.json').read_text())
    assert look['rewarded'] == 'labels'
    assert np.isfinite(record.losses['loss_policy']).all()


@pytest.mark.slow
def test_subsets_of_wflw(sandbox, monkeypatch, tmp_path):
    """The error of a whole is the mean of its parts'."""
    pytest.importorskip('mmpose')
    monkeypatch.chdir(sandbox)
    errors = {}
    for name in ('test', 'test_blur', 'test_makeup'):
        cfg = Config.fromfile(
            'configs/mmpose/resnet50_8xb64-60e_wflw-256x256.py')
        shrink(cfg, tmp_path)
        cfg.merge_from_dict({
            'randomness': dict(seed=0), 'experiment_name': name,
            'test_dataloader.dataset.ann_file':
            f'annotations/face_landmarks_wflw_{name}.json'})
        errors[name] = Runner.from_cfg(cfg).test()['NME']
    assert errors['test_blur'] != errors['test_makeup']
    assert errors['test'] == pytest.approx(
        (errors['test_blur'] + errors['test_makeup']) / 2)


def test_every_kind_is_there():
    assert set(PATHS) >= KINDS
