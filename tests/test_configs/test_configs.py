"""Every config parses, and is built as large as it really is."""
import copy
import functools
import json
import os
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import (
    DATASETS,
    HOOKS,
    MODELS,
    DefaultScope,
    init_default_scope,
)
from mmengine.runner import Runner
from mmengine.visualization import Visualizer
from torch import nn

from tests.published.layouts import LAYOUTS

ROOT = Path(__file__).resolve().parents[2]
PATHS = sorted(
    str(path.relative_to(ROOT)) for path in ROOT.glob('configs/**/*.py')
    if '_base_' not in path.parts)
DEMO = [path for path in PATHS if path.startswith('configs/demo/')]
SHAPES = {  # of the released denoisers' published tap
    'cifar10': (256, 4, 4), 'cifar100': (256, 4, 4),
    'tiny-imagenet': (768, 8, 8), 'in1k': (768, 8, 8),
    'celebahq': (512, 8, 8), 'celebahq-wflw': (512, 8, 8)}
DENOISERS = {  # which config is built like a released one
    'google/ddpm-cifar10-32': 'unet_32px_cifar10',
    'google/ddpm-ema-celebahq-256': 'unet_256px_celebahq'}
PUBLISHED = [path for path in PATHS if 'distill/repfusion' in path
             and not any(kind in path for kind in ('ranges', 'folder',
                                                   'bank'))]
OPTIONAL = {'mmseg', 'mmpose', 'mmdet'}


def library(cfg):
    """The scope of a config's type."""
    return (cfg or {}).get('type', '').split('.')[0]


@functools.cache
def read(path):
    """A config as its file says it, read once; not to be changed."""
    return Config.fromfile(str(ROOT / path), format_python_code=False)


@pytest.fixture
def config(root, monkeypatch):
    """A config with the architecture in place of a denoiser's weights."""
    monkeypatch.chdir(root)  # configs name one another from here
    # initial values take longer than everything else
    for kind in (nn.modules.conv._ConvNd, nn.Linear):
        monkeypatch.setattr(kind, 'reset_parameters', lambda self: None)

    def load(path):
        cfg = copy.deepcopy(read(path))
        scope = cfg.get('default_scope', 'mmengine')
        for name in OPTIONAL & {scope, library(cfg.get('backbone'))}:
            pytest.importorskip(name)
        init_default_scope(scope)
        replace(cfg._cfg_dict)
        return cfg

    return load


def replace(node):
    """Name the config that belongs to each `pretrained` that is not here."""
    if isinstance(node, dict):
        name = node.get('pretrained')
        if name in LAYOUTS:
            node['pretrained'] = str(ROOT / 'tests/published' / LAYOUTS[name])
        elif name and str(node.get('type')).endswith('Teacher') and \
                not os.path.isdir(name):
            trained = DENOISERS.get(name) or \
                name.split('/')[1]  # work_dirs/<config>/dpm
            node['config'] = read(f'configs/dpm/{trained}.py').model.denoiser
            node['pretrained'] = None
        for child in node.values():
            replace(child)
    elif isinstance(node, (list, tuple)):
        for child in node:
            replace(child)


@pytest.fixture(scope='module')
def teachers():
    """Teachers by their config: they take longest, and are never changed."""
    return {}


def test_found():
    assert DEMO


@pytest.mark.parametrize('path', PATHS)
def test_parses(path):
    cfg = read(path)
    assert cfg.default_scope
    again = Config.fromstring(cfg.pretty_text, '.py')  # as the work dir has it
    assert again._cfg_dict == cfg._cfg_dict


@pytest.mark.parametrize('path', PATHS)
def test_memory_is_pinned(path):
    cfg = read(path)
    for split in ('train', 'val', 'test'):
        loader = cfg.get(f'{split}_dataloader')
        assert not loader or loader.pin_memory is True


def share_teacher(model, teachers):
    """Put a teacher with the model's taps into its config."""
    taps = [connection['teacher_tap'] for connection in model['connections']]
    taps = list(dict.fromkeys(
        taps + [(model.get('reward') or {}).get('tap') or taps[0]]))
    key = repr((model['teacher'], taps))
    if key not in teachers:
        teachers[key] = MODELS.build(dict(model['teacher'], taps=taps))
    model['teacher'] = teachers[key]


@pytest.mark.parametrize('path', PATHS)
def test_model(config, teachers, path):
    cfg = config(path)
    parts = [cfg[key] for key in ('model', 'teacher') if key in cfg]
    assert parts
    for part in parts:
        # the Runner gives the model the top-level data preprocessor
        if part is cfg.get('model') and 'data_preprocessor' in cfg and \
                'data_preprocessor' not in part:
            part['data_preprocessor'] = cfg.data_preprocessor
        if 'connections' in part:
            share_teacher(part, teachers)
        model = MODELS.build(part)
        if part.type == 'ImageClassifier':
            # what the neck gives is what the head expects
            model.eval()
            with torch.no_grad():
                scores = model(torch.zeros(1, 3, 32, 32))
            assert scores.shape == (1, part.head.num_classes)


@pytest.mark.parametrize('path', PUBLISHED)
def test_published_tap(config, teachers, path):
    # the student's last feature against the denoiser's middle
    cfg = config(path)
    share_teacher(cfg.model, teachers)
    model = MODELS.build(cfg.model)
    wanted = SHAPES[Path(path).stem.split('_')[-1]]
    assert model.teacher.feature_shapes == {
        'mid_block.resnets.1.conv2': wanted}
    # a 1x1 convolution: the student's feature is a map
    assert model.connections[0].projector.weight.shape == (
        wanted[0], cfg.feature_dim, 1, 1)


@pytest.mark.parametrize('path', PATHS)
def test_hooks(config, path):
    cfg = config(path)
    Visualizer.get_instance('test')
    for hook in [*cfg.get('custom_hooks', []), *cfg.default_hooks.values()]:
        HOOKS.build(copy.deepcopy(hook))


@pytest.mark.parametrize('path', PATHS)
def test_comments(root, path):
    first = (root / path).read_text().splitlines()[0]
    assert first.startswith('# ') and len(first) <= 79


@pytest.mark.parametrize('path', PATHS)
def test_bases_are_ours(root, path):
    text = (root / path).read_text()
    assert '::' not in text.split('model =')[0]


@pytest.mark.parametrize('path', DEMO)
def test_demo_data(config, path):
    cfg = config(path)
    for split in ('train', 'val', 'test'):
        loader = cfg.get(f'{split}_dataloader')
        if loader is not None:
            dataset = DATASETS.build(loader.dataset)
            assert dataset[0]['inputs'].shape == (3, 16, 16)
            assert dataset[0]['data_samples'].gt_label.numel() == 1


def test_denoiser_of_celebahq(config):
    # the number of parameters of the released one
    cfg = config('configs/dpm/unet_256px_celebahq.py')
    with torch.device('meta'):
        model = MODELS.build(cfg.model)
    count = sum(p.numel() for p in model.denoiser.parameters())
    assert round(count / 1e6, 2) == 113.67


def tasks(folder):
    return [path for path in PATHS if Path(path).parent.name == folder]


@pytest.mark.parametrize('path', tasks('mmseg'))
def test_segmentor(config, path):
    # the heads know as many classes as the data, and put out crops
    cfg = config(path)
    model = MODELS.build(cfg.model).eval().to('meta')
    heads = [part for part in model.modules() if hasattr(part, 'num_classes')
             and part is not model]
    scores = model(torch.zeros(1, 3, 448, 448, device='meta'))
    for loader in (cfg.train_dataloader, cfg.val_dataloader,
                   cfg.test_dataloader):
        dataset = DATASETS.build(dict(loader.dataset, lazy_init=True))
        assert {head.num_classes for head in heads} == \
            {len(dataset.metainfo['classes'])}
    assert scores.shape[:2] == (1, 18)


@pytest.mark.parametrize('path', tasks('mmpose'))
def test_landmark_estimator(config, path):
    # heatmaps, or two distributions, for 98 landmarks, as large as the codec's
    cfg = config(path)
    model = MODELS.build(cfg.model).eval().to('meta')
    found = model(torch.zeros(1, 3, 256, 256, device='meta'), None)
    if cfg.codec.type == 'SimCCLabel':
        assert [one.shape for one in found] == [(1, 98, 512)] * 2
    else:
        assert found.shape == (1, 98, *cfg.codec.heatmap_size)
    for loader in (cfg.train_dataloader, cfg.test_dataloader):
        assert DATASETS.build(dict(loader.dataset, lazy_init=True)
                              ).metainfo['num_keypoints'] == 98
    encoder, = [step.encoder for step in cfg.train_dataloader.dataset.pipeline
                if step.type == 'GenerateTarget']
    assert encoder == cfg.codec == cfg.model.head.decoder


@pytest.mark.parametrize('path', tasks('mmdet'))
def test_detector(config, path):
    # the head knows as many classes as the data, and all of it is trained
    cfg = config(path)
    model = MODELS.build(cfg.model)
    dataset = DATASETS.build(dict(cfg.train_dataloader.dataset,
                                  lazy_init=True))
    assert model.bbox_head.num_classes == len(dataset.metainfo['classes'])
    assert all(p.requires_grad for p in model.train().parameters())
    assert all(module.training for module in model.modules())


@pytest.mark.parametrize('path', [
    path for path in PATHS if 'celebamask' in path or 'segmentation' in path])
def test_flips_swap_sides(config, path):
    # a mirrored left eye is a right one
    dataset = config(path).train_dataloader.dataset
    names = DATASETS.build(dict(dataset, lazy_init=True)).metainfo['classes']
    flip, = [step for step in dataset.pipeline if step.type == 'RandomFlip']
    swapped = {(names[one], names[two]) for one, two in flip.swap_seg_labels}
    assert swapped == {(name, f'r{name[1:]}') for name in names
                       if f'r{name[1:]}' in names and name[0] == 'l'}
    assert len(swapped) == 3


def test_levels_meet_at_one_size(config, teachers):
    # nothing is resized between the pyramid and the decoder
    cfg = config('configs/distill/dreamteacher_resnet50_celebahq.py')
    share_teacher(cfg.model, teachers)
    model = MODELS.build(cfg.model).eval()
    with torch.no_grad():
        _, student = model.student_features(
            model.backbone, torch.zeros(1, 3, 256, 256))
    sides = []
    for connection in model.connections:
        wanted = model.teacher.feature_shapes[connection.teacher_tap]
        assert student[connection.student_tap].shape[2:] == wanted[1:]
        sides.append(wanted[1])
    assert sides == [64, 32, 16, 8]


@pytest.mark.parametrize('path', tasks('joint'))
def test_joint_is_its_baseline(path):
    # the task's model, its data and its schedule are the baseline's
    name = Path(path).name.replace('joint-repfusion_', '')
    baseline, = [one for one in PATHS if Path(one).name == name]
    cfg, wanted = read(path), read(baseline)
    assert cfg.model.task == wanted.model
    differ = same_but(cfg._cfg_dict, wanted._cfg_dict)
    assert {key.split('.')[0] for key in differ} <= {
        'model', 'custom_hooks', 'default_hooks', 'randomness',
        'train_dataloader'}
    if 'train_dataloader.dataset.pipeline' in differ:
        ours, theirs = (one.train_dataloader.dataset.pipeline
                        for one in (cfg, wanted))
        assert ours[:-1] == theirs[:-1]
        assert ours[-1] == dict(theirs[-1], pack_transformed=True)


def same_but(one, two, path=''):
    """The keys in which two configs differ."""
    if isinstance(one, dict) and isinstance(two, dict):
        return [key for name in {*one, *two} for key in same_but(
            one.get(name), two.get(name), f'{path}.{name}'.lstrip('.'))]
    return [] if one == two else [path]


def student(cfg):
    """The part of a task's model that stage 1 distils."""
    backbone = cfg.get('model', {}).get('backbone', {})
    return backbone.get('backbone_cfg', backbone)  # of BiSeNetV1


def start(cfg):
    """The checkpoint that it starts from, if it is one of stage 1."""
    return (student(cfg).get('init_cfg') or {}).get('checkpoint', '')


def test_stage_two_differs_in_one_init_cfg():
    pairs = 0
    for path in PATHS:
        cfg = read(path)
        if 'repfusion' not in start(cfg):
            continue
        for other in PATHS:
            if Path(other).parent != Path(path).parent or other == path:
                continue
            differ = same_but(read(other)._cfg_dict, cfg._cfg_dict)
            pairs += differ in (['model.backbone.init_cfg'],
                                ['model.backbone.backbone_cfg.init_cfg'])
    found = [path for path in PATHS if '_repfusion' in path
             and 'distill' not in path]
    assert pairs == len(found) > 0


def test_every_student_has_a_baseline():
    # repfusion_<student>_<schedule>_<data set> leads to a pair of stage 2; of
    # faces there are several tasks
    starts = {start(read(path)).split('/')[-2] for path in PATHS
              if start(read(path))}
    for path in PATHS:
        name = Path(path).stem
        if 'distill' not in path or not name.startswith('repfusion_'):
            continue
        _, backbone, rest = name.split('_', 2)
        if rest == 'celebahq':
            assert name in starts, path
            continue
        for middle in ('', 'repfusion-init_'):
            wanted = f'configs/mmpretrain/{backbone}_{middle}{rest}.py'
            assert wanted in PATHS, path


@functools.cache
def shapes(backbone, scope):
    """Shapes of a backbone's weights, by its config's text."""
    with DefaultScope.overwrite_default_scope(scope):
        state = MODELS.build(eval(backbone)).state_dict()
    return {key: tuple(value.shape) for key, value in state.items()}


def test_stage_one_leads_to_stage_two(config):
    # the checkpoint's work dir is named after a stage-1 config, whose
    # training ends at that checkpoint
    stage_one = {Path(path).stem: path for path in PATHS}
    for path in PATHS:
        cfg = read(path)
        if 'work_dirs/' not in start(cfg):
            continue
        _, folder, name = start(cfg).split('/')
        assert folder in stage_one, path
        first = read(stage_one[folder])
        kind, end = Path(name).stem.split('_')
        key = dict(iter='max_iters', epoch='max_epochs')[kind]
        assert first.train_cfg[key] == int(end), path
        if find_spec(cfg.default_scope) is None:
            continue
        # and its backbone is the same one
        ours = student(cfg).to_dict()
        ours.pop('init_cfg')
        wanted = shapes(repr(first.model.backbone.to_dict()),
                        first.default_scope)
        assert wanted == shapes(repr(ours), cfg.default_scope), path
        # on images of the same colours, and of the same size
        for key in ('mean', 'std'):
            assert first.data_preprocessor[key] == cfg.data_preprocessor[key]
        if 'demo' not in path and 'celebahq' not in folder and \
                first.default_scope == cfg.default_scope:
            assert first.data_preprocessor == cfg.data_preprocessor
            assert first.train_pipeline == cfg.train_pipeline


def test_shipped_teacher(root, monkeypatch):
    # the digits' denoiser predicts the noise on digits it has not seen, at
    # every level far better than without looking (a loss of 1)
    from diffusers import DDPMPipeline
    monkeypatch.chdir(root)
    pipeline = DDPMPipeline.from_pretrained('configs/demo/dpm_digits')
    digits = DATASETS.build(dict(type='repfusion_mm.Digits', split='test'))
    images = np.stack([digits.get_data_info(i)['img'][..., 0]
                       for i in range(64)])
    images = torch.from_numpy(images)[:, None] / 127.5 - 1
    denoiser = pipeline.unet.float().eval()
    wanted = Config.fromfile('configs/demo/dpm_unet_digits.py').model.denoiser
    for key, value in wanted.items():
        found = denoiser.config[key]
        assert found == (list(value) if isinstance(value, tuple) else value)
    for t, limit in ((50, 0.2), (200, 0.1), (600, 0.03)):
        noise = torch.randn(images.shape)
        steps = torch.full((64, ), t)
        noisy = pipeline.scheduler.add_noise(images, noise, steps)
        with torch.no_grad():
            loss = (denoiser(noisy, steps).sample - noise).pow(2).mean()
        assert loss < limit, t


def test_demo_policy_looks_first(root, monkeypatch, tmp_path):
    """At 20 labelled images, in a twentieth of the teacher's passes."""
    monkeypatch.chdir(root)
    cfg = Config.fromfile(
        'configs/demo/repfusion_resnet18_reinforced_digits.py')
    passes = cfg.train_cfg.max_iters * cfg.train_dataloader.batch_size

    class Stop(Hook):
        priority = 'LOWEST'  # once the policy has looked

        def before_train(self, runner):
            raise KeyboardInterrupt

    cfg.work_dir, cfg.launcher = str(tmp_path), 'none'
    runner = Runner.from_cfg(cfg)
    runner.register_hook(Stop())
    with pytest.raises(KeyboardInterrupt):
        runner.train()
    look = json.loads((tmp_path / 'look.json').read_text())
    assert (look['rewarded'], look['images']) == ('labels', 20)
    assert look['teacher_passes'] <= 0.05 * passes
    # the middle of the range is what the probe likes, and what it settles on
    assert 50 < look['chosen_t'] < 500
    sampler = runner.model.time_sampler
    assert sampler.entropy_weight == 0
    images = torch.full((1, 3, 16, 16), 127.)
    probs = sampler.distribution(images).probs[0]
    assert (probs * torch.arange(25., 1000, 50)).sum() < 500
