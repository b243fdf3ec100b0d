"""Every config parses, and its parts are built."""
import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import (
    DATASETS,
    HOOKS,
    MODELS,
    DefaultScope,
    init_default_scope,
)
from mmengine.visualization import Visualizer

ROOT = Path(__file__).resolve().parents[2]
PATHS = sorted(
    str(path.relative_to(ROOT)) for path in ROOT.glob('configs/**/*.py')
    if '_base_' not in path.parts)
DEMO = [path for path in PATHS if path.startswith('configs/demo/')]


@pytest.fixture
def config(root, monkeypatch, pipeline_folder):
    """A config with the tiny teacher in place of a hub id or a folder."""
    monkeypatch.chdir(root)

    def replace(node):
        if isinstance(node, dict):
            if 'pretrained' in node and \
                    str(node.get('type')).endswith('Teacher'):
                node['pretrained'] = pipeline_folder
            for child in node.values():
                replace(child)
        elif isinstance(node, (list, tuple)):
            for child in node:
                replace(child)

    def load(path):
        cfg = Config.fromfile(path)
        scope = cfg.get('default_scope', 'mmengine')
        if scope in ('mmseg', 'mmpose', 'mmdet'):
            try:
                __import__(scope)
            except ImportError:
                pytest.skip(f'{scope} cannot be imported')
        init_default_scope(scope)
        replace(cfg._cfg_dict)
        return cfg

    return load


def test_found():
    assert DEMO


@pytest.mark.parametrize('path', PATHS)
def test_parses(root, monkeypatch, path):
    monkeypatch.chdir(root)
    cfg = Config.fromfile(path)
    assert cfg.default_scope
    again = Config.fromstring(cfg.pretty_text, '.py')  # as the work dir has it
    assert again._cfg_dict == cfg._cfg_dict


@pytest.mark.parametrize('path', PATHS)
def test_model(config, path):
    cfg = config(path)
    parts = [cfg[key] for key in ('model', 'teacher') if key in cfg]
    assert parts
    for part in parts:
        # the Runner gives the model the top-level data preprocessor
        if part is cfg.get('model') and 'data_preprocessor' in cfg and \
                'data_preprocessor' not in part:
            part['data_preprocessor'] = cfg.data_preprocessor
        MODELS.build(part)


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


def same_but(one, two, path=''):
    """The keys in which two configs differ."""
    if isinstance(one, dict) and isinstance(two, dict):
        return [key for name in {*one, *two} for key in same_but(
            one.get(name), two.get(name), f'{path}.{name}'.lstrip('.'))]
    return [] if one == two else [path]


def test_stage_two_differs_in_one_init_cfg(root, monkeypatch):
    monkeypatch.chdir(root)
    pairs = 0
    for path in PATHS:
        cfg = Config.fromfile(path)
        backbone = cfg.get('model', {}).get('backbone', {})
        start = backbone.get('init_cfg') or {}
        if 'checkpoint' not in start or 'repfusion' not in start['checkpoint']:
            continue
        for other in PATHS:
            if Path(other).parent != Path(path).parent or other == path:
                continue
            differ = same_but(Config.fromfile(other)._cfg_dict.to_dict(),
                              cfg._cfg_dict.to_dict())
            pairs += differ == ['model.backbone.init_cfg']
    found = [path for path in PATHS if '_repfusion' in path
             and 'distill' not in path]
    assert pairs == len(found) > 0


def shapes(backbone, scope):
    """Shapes of a backbone's weights."""
    with DefaultScope.overwrite_default_scope(scope):
        state = MODELS.build(backbone).state_dict()
    return {key: tuple(value.shape) for key, value in state.items()}


def test_stage_one_leads_to_stage_two(root, monkeypatch):
    # the checkpoint's work dir is named after a stage-1 config, whose
    # training ends at that checkpoint
    monkeypatch.chdir(root)
    stage_one = {Path(path).stem: path for path in PATHS}
    for path in PATHS:
        cfg = Config.fromfile(path)
        start = cfg.get('model', {}).get('backbone', {}).get('init_cfg') or {}
        if 'work_dirs/' not in start.get('checkpoint', ''):
            continue
        _, folder, name = start['checkpoint'].split('/')
        assert folder in stage_one, path
        first = Config.fromfile(stage_one[folder])
        kind, end = Path(name).stem.split('_')
        key = dict(iter='max_iters', epoch='max_epochs')[kind]
        assert first.train_cfg[key] == int(end), path
        # and its backbone is the same one
        ours = dict(cfg.model.backbone)
        ours.pop('init_cfg')
        wanted = shapes(first.model.backbone, first.default_scope)
        assert wanted == shapes(ours, cfg.default_scope), path


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
