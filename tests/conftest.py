"""Fixtures shared by all tests: tiny teachers, students and runs."""
import importlib.util
import os
from pathlib import Path

os.environ['HF_HUB_OFFLINE'] = '1'  # before diffusers is imported
os.environ.setdefault('DIFFUSERS_VERBOSITY', 'error')
if 'PYTEST_XDIST_WORKER' in os.environ:  # one of several on these cores
    os.environ.setdefault('OMP_NUM_THREADS', '1')

import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]
TINY = dict(
    sample_size=16,
    layers_per_block=1,
    block_out_channels=(16, 32),
    norm_num_groups=8,
    attention_head_dim=8,
    down_block_types=('DownBlock2D', 'AttnDownBlock2D'),
    up_block_types=('AttnUpBlock2D', 'UpBlock2D'))


def pytest_collection_modifyitems(items):
    if torch.cuda.is_available():
        return
    for item in items:
        if 'gpu' in item.keywords:
            item.add_marker(pytest.mark.skip(reason='no GPU'))


def _subclasses(cls):
    return [each for one in cls.__subclasses__()
            for each in (one, *_subclasses(one))]


@pytest.fixture(autouse=True)
def fresh():
    """Every test starts from the same seed and without MMEngine's globals."""
    from mmengine.utils import ManagerMixin
    torch.manual_seed(0)
    yield
    for manager in _subclasses(ManagerMixin):
        manager._instance_dict.clear()


@pytest.fixture(scope='session')
def root():
    """The repository."""
    return ROOT


@pytest.fixture
def tiny():
    """Config of a denoiser with a total stride of 2."""
    return dict(TINY)


@pytest.fixture(scope='session')
def unet():
    """A complete denoiser with random weights; not to be changed."""
    from diffusers import UNet2DModel
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return UNet2DModel(**TINY).eval().requires_grad_(False)


@pytest.fixture(scope='session')
def pipeline_folder(unet, tmp_path_factory):
    """``unet`` as a diffusers pipeline folder."""
    from diffusers import DDPMPipeline, DDPMScheduler
    folder = tmp_path_factory.mktemp('pipeline')
    DDPMPipeline(unet, DDPMScheduler()).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope='session')
def bare_folder(unet, tmp_path_factory):
    """``unet`` as a bare diffusers model folder."""
    folder = tmp_path_factory.mktemp('bare')
    unet.save_pretrained(folder)
    return str(folder)


@pytest.fixture
def images():
    """Raw images, (4, 3, 16, 16)."""
    return torch.rand(4, 3, 16, 16) * 255


@pytest.fixture
def timesteps():
    return torch.tensor([0, 37, 500, 999])


@pytest.fixture
def complete(unet):
    """Features of a forward pass that is run to the end."""

    def run(inputs, timesteps, taps):
        features = {}

        def keep(path):

            def hook(module, args, output):
                features[path] = output.clone()

            return hook

        handles = [unet.get_submodule(tap).register_forward_hook(keep(tap))
                   for tap in taps]
        with torch.no_grad():
            unet(inputs, timesteps)
        for handle in handles:
            handle.remove()
        return features

    return run


@pytest.fixture
def repfusion(pipeline_folder):
    """Config of a small stage 1; keywords replace parts of it."""

    def config(**parts):
        model = dict(
            type='repfusion_mm.RepFusion',
            data_preprocessor=dict(
                type='mmpretrain.ClsDataPreprocessor',
                mean=[127.5] * 3, std=[127.5] * 3),
            backbone=dict(type='mmpretrain.ResNet_CIFAR', depth=18,
                          stem_channels=4, base_channels=4),
            teacher=dict(type='repfusion_mm.UNetTeacher',
                         pretrained=pipeline_folder),
            time_sampler=dict(type='repfusion_mm.ReinforcedTime',
                              num_bins=10),
            reward=dict(type='repfusion_mm.ClassificationReward',
                        num_classes=10, hidden=(8, )),
            connections=[
                dict(student_tap='layer4', teacher_tap='mid_block.resnets.1',
                     loss=dict(type='repfusion_mm.HintLoss', pool=True))
            ])
        model.update(parts)
        return {key: part for key, part in model.items() if part is not None}

    return config


@pytest.fixture
def build():
    """Builds a model."""
    from repfusion_mm.registry import MODELS
    return MODELS.build


@pytest.fixture
def samples():
    """Data samples with some labels."""
    from mmpretrain.structures import DataSample
    return lambda labels: [DataSample().set_gt_label(x) for x in labels]


@pytest.fixture
def load_config(root, monkeypatch, tmp_path, pipeline_folder):
    """A config of this repository, made small, in a work dir of its own."""
    from mmengine.config import Config
    monkeypatch.chdir(root)

    def load(path, iters=2, **options):
        cfg = Config.fromfile(path)
        small = {
            'work_dir': str(tmp_path),
            'train_cfg.max_iters': iters,
            'param_scheduler': None,  # its warm-up is longer
            'train_dataloader.batch_size': 16,
            'default_hooks.checkpoint.interval': iters,
            'default_hooks.logger.interval': 1,
        }
        if 'teacher' in cfg.model:
            inside = 'teacher.' if 'teacher' in cfg.model.teacher else ''
            small[f'model.teacher.{inside}pretrained'] = pipeline_folder
        cfg.merge_from_dict({**small, **options})
        return cfg

    return load


@pytest.fixture
def tool(root):
    """A script of ``tools/`` as a module."""

    def load(name):
        spec = importlib.util.spec_from_file_location(
            f'tool_{Path(name).name}', root / 'tools' / f'{name}.py')
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load
