"""For each registered class of ours a config that trains, and how it does.

A new class is found by itself: its arguments come from its signature, the
rest from the example in its docstring, its place in a model from the package
that it is in. ``INSTEAD`` is for examples that need files or time.
"""
import copy
import doctest
import functools
import importlib.util
import inspect
import types
from pathlib import Path

import numpy as np
import torch
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from mmengine.structures import InstanceData, PixelData
from mmpretrain.structures import DataSample
from PIL import Image

from repfusion_mm.models.rewards.held_out_reward import FOLDS, HeldOutFits
from repfusion_mm.registry import (
    DATASETS,
    HOOKS,
    MODELS,
    OPTIM_WRAPPER_CONSTRUCTORS,
    OPTIM_WRAPPERS,
    TRANSFORMS,
)

DEMO = 'configs/demo/dpm_digits'
TAP = 'mid_block.resnets.1'
KEYPOINTS = 17
DIGITS = dict(type='repfusion_mm.Digits', split='val',
              pipeline=[dict(type='mmpretrain.PackInputs')])
BACKBONE = dict(type='mmpretrain.ResNet_CIFAR', depth=18, stem_channels=4,
                base_channels=4)
PREPROCESSOR = dict(type='mmpretrain.ClsDataPreprocessor', mean=[127.5] * 3,
                    std=[127.5] * 3)
DENOISER = dict(
    sample_size=16, layers_per_block=1, norm_num_groups=8,
    block_out_channels=(8, 16),
    down_block_types=('DownBlock2D', 'DownBlock2D'),
    up_block_types=('UpBlock2D', 'UpBlock2D'))
TEACHER = dict(type='repfusion_mm.UNetTeacher', config=DENOISER)
CLASSIFIER = dict(
    type='mmpretrain.ImageClassifier', data_preprocessor=PREPROCESSOR,
    backbone=BACKBONE, neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=10, in_channels=32))
POOLED = dict(type='repfusion_mm.HintLoss', pool=True)
# in place of what the docstring's example has
INSTEAD = dict(
    RepFusion=dict(backbone=BACKBONE, teacher=TEACHER,
                   data_preprocessor=PREPROCESSOR,
                   time_sampler=dict(type='repfusion_mm.UniformTime'),
                   reward=None, connections=[dict(
                       student_tap='layer4', teacher_tap=TAP, loss=POOLED)]),
    JointRepFusion=dict(task=CLASSIFIER, teacher=TEACHER, connections=[dict(
        student_tap='backbone.layer4', teacher_tap=TAP, loss=POOLED)]),
    DPM=dict(denoiser=DENOISER),
    UNetTeacher=dict(config=DENOISER, taps=None),
    GuidedDiffusionTeacher=dict(
        preset=None, class_condition=None, taps=None, image_size=16,
        num_channels=32, num_res_blocks=1, channel_mult=(1, 2),
        attention_resolutions=(8, ), num_head_channels=16),
    FixedTime=dict(t=100),
    DiffusionTeacher=dict(pretrained=DEMO, condition=None, add_noise=False,
                          dtype=None, variant=None),
    ClassifierTeacher=dict(model=CLASSIFIER, image_size=16),
    BankedTeacher=dict(teacher=TEACHER, dataset=dict(DIGITS, split='train'),
                       timesteps=[100], flips=False, bank=None),
    SeveralTeachers=dict(taps=None),
    StridedBackbone=dict(backbone=BACKBONE, strides={'conv1': 1}),
    Connection=dict(student_tap='layer4', teacher_tap=TAP),
    FewLabels=dict(dataset=DIGITS, labels_per_class=2),
    CachedImages=dict(dataset=dict(DIGITS, pipeline=[
        dict(type='mmpretrain.Resize', scale=16),
        dict(type='mmpretrain.PackInputs')])),
    FeatureQualityHook=dict(dataset=DIGITS, interval=1, num_images=20),
    TimeSamplerHook=dict(schedules=[dict(attribute='max_t', end=50)]),
    DPMExportHook=dict(num_samples=1, sampling_steps=1),
    TaskOptimWrapperConstructor=dict(paramwise_cfg=dict(
        task_constructor='mmengine.DefaultOptimWrapperConstructor',
        bypass_duplicate=True)),
    ContrastiveRepresentationLoss=dict(dataset_size=100),
)
# of teachers that are told something else than a student's tap by default
TAPS = dict(ClassifierTeacher='backbone.layer4',
            SeveralTeachers='drawn.mid_block')
ONLY_BUILT = {'CelebAMaskHQ', 'LoadCheckedMask'}  # mmseg trains with them
# set by what builds it, and no argument of a config
SET_BY_THE_MODEL = {
    'channels', 'student_shape', 'teacher_shape', 'feature_shapes',
    'student_shapes', 'num_actions', 'in_channels', 'optim_wrapper_cfg'}


def write_files(folder):
    """Make the files that some examples name.

    Args:
        folder (Path): To write them to.
    """
    spec = importlib.util.spec_from_file_location(
        'guided_unet',
        Path(__file__).parents[1] / 'test_models/test_teachers/guided_unet.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    guided = INSTEAD['GuidedDiffusionTeacher']
    guided['checkpoint'] = str(folder / 'guided.pt')
    torch.save(module.GuidedUNet(**{
        key: value for key, value in guided.items() if key not in (
            'preset', 'class_condition', 'taps', 'checkpoint')}).state_dict(),
        guided['checkpoint'])
    for name in ('n1', 'n2'):
        images = folder / 'tiny' / 'train' / name / 'images'
        images.mkdir(parents=True)
        for number in range(4):
            Image.new('RGB', (16, 16), (0, 60 * number, 255)).save(
                images / f'{number}.JPEG')
    (folder / 'tiny' / 'wnids.txt').write_text('n1\nn2\n')
    (folder / 'tiny' / 'words.txt').write_text('n1\tone\nn2\ttwo\n')
    INSTEAD['TinyImageNet'] = dict(
        data_root=str(folder / 'tiny'), split='train', lazy_init=False)


@functools.lru_cache
def built_teacher():
    """One for all that is about something else: building it takes longest."""
    teacher = MODELS.build(dict(TEACHER, taps=[TAP]))
    teacher.init_weights()
    return teacher


@functools.lru_cache
def digits():
    """A batch's images, as a data set gives them."""
    dataset = DATASETS.build(dict(DIGITS, indices=8, split='train'))
    return [dataset[index] for index in range(8)]


@functools.lru_cache
def registered():
    """All classes and functions of ours that a config can name.

    Returns:
        dict[str, tuple]: Registry and class, by name.
    """
    found = {}
    for registry in (MODELS, HOOKS, DATASETS, TRANSFORMS, OPTIM_WRAPPERS,
                     OPTIM_WRAPPER_CONSTRUCTORS):
        registry.import_from_location()
        for name, cls in registry.module_dict.items():
            if cls.__module__.startswith('repfusion_mm.'):
                found[name] = registry, cls
    return found


def example(name, cls):
    """Arguments that work.

    Args:
        name (str): What it is registered as.
        cls (type): The class.

    Returns:
        dict: A config without its ``type``.
    """
    names = {}
    for one in doctest.DocTestParser().get_examples(cls.__doc__ or ''):
        exec(one.source, names)
    names.pop('__builtins__', None)
    arguments = _of_type(list(names.values()), name) or {}
    arguments = {**arguments, **INSTEAD.get(name, {})}
    arguments.pop('type', None)
    return copy.deepcopy({key: value for key, value in arguments.items()
                          if value is not None})


def _of_type(value, name):
    """The first config of that type in nested configs."""
    if isinstance(value, dict):
        if value.get('type') == f'repfusion_mm.{name}':
            return value
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        return next(filter(None, (_of_type(one, name) for one in value)),
                    None)
    return None


def parameters(cls):
    """Of the config, by name.

    Returns:
        dict[str, inspect.Parameter]: Without what the model sets.
    """
    return {name: one for name, one in inspect.signature(cls).parameters
            .items() if name not in SET_BY_THE_MODEL and one.kind not in (
                one.VAR_KEYWORD, one.VAR_POSITIONAL)}


def train(name, cfg, folder):
    """Build what a config says, and train two steps with it.

    Args:
        name (str): Of the class that the config is of.
        cfg (dict): With its ``type``.
        folder (Path): For what is written.

    Returns:
        list[float]: The losses.
    """
    registry, cls = registered()[name]
    cfg = copy.deepcopy(cfg)  # libraries write into theirs
    if name in ONLY_BUILT:
        registry.build(cfg)
        return []
    if registry is not MODELS:
        if registry is not OPTIM_WRAPPERS and \
                registry is not OPTIM_WRAPPER_CONSTRUCTORS:
            registry.build(copy.deepcopy(cfg))  # refused without a model
        return _in_a_run(registry, cfg, name, folder)
    kind = cls.__module__.split('.')[2]
    if name == 'BankedTeacher':
        cfg.setdefault('bank', str(folder / 'bank'))
    return _two_steps(_model(kind, name, cfg))


def _model(kind, name, cfg):
    model = dict(copy.deepcopy(INSTEAD['RepFusion']), trial_size=16,
                 teacher=built_teacher(), type='repfusion_mm.RepFusion')
    connection, = model['connections']
    if kind in ('distillers', 'dpm'):
        return cfg
    if kind == 'losses':
        connection['loss'] = cfg
    elif name == 'Connection':
        model['connections'] = [cfg]
        model['teacher'] = TEACHER
    elif name == 'TopDownRegressor':
        model['regressor'] = cfg
        connection['student_tap'] = 'regressor.0'
    elif kind == 'rewards':
        model['time_sampler'] = dict(type='repfusion_mm.ReinforcedTime',
                                     num_bins=10)
        model['reward'] = cfg
    elif kind == 'time_samplers':
        model['time_sampler'] = dict(
            type='repfusion_mm.ReinforcedTime', num_bins=10, policy=cfg) \
            if 'Policy' in name else cfg
        model['reward'] = dict(type='repfusion_mm.ClassificationReward',
                               num_classes=10, hidden=[])
        if name in ('UniformTime', 'FixedTime'):
            del model['reward']
    elif kind == 'teachers':
        model['teacher'] = cfg
        connection['teacher_tap'] = TAPS.get(name, TAP)
        model['time_sampler'] = dict(type='repfusion_mm.FixedTime', t=0)
        if name == 'BankedTeacher':
            model['time_sampler']['t'] = 100
    else:
        model['backbone'] = cfg
    model['reward'] = model.get('reward')
    return model


def _two_steps(cfg):
    model = MODELS.build(cfg)
    model.init_weights()
    reward = getattr(model, 'reward', None)
    if getattr(reward, 'learns_from_look', False):
        reward.learn_from(HeldOutFits(  # that tells nothing
            torch.tensor([500]),
            torch.zeros(1, FOLDS, reward.shape[0], KEYPOINTS),
            torch.zeros(1, FOLDS, KEYPOINTS), torch.ones(1)))
    optimizer = OptimWrapper(torch.optim.SGD(model.parameters(), lr=1e-3))
    batch, losses = digits(), []
    for _ in range(2):
        log = model.train_step(dict(
            inputs=[one['inputs'] for one in batch],
            data_samples=[_labelled(one['data_samples']) for one in batch]),
            optimizer)
        losses.append(float(log['loss']))
    return losses


def _labelled(sample):
    """With a class, a mask and keypoints, as any reward may read them."""
    sample = DataSample(metainfo=sample.metainfo).set_gt_label(
        sample.gt_label)
    sample.gt_sem_seg = PixelData(
        data=torch.arange(16 * 16).reshape(1, 16, 16) % 2)
    points = np.random.default_rng(0).uniform(2, 14, (1, KEYPOINTS, 2))
    sample.gt_instances = InstanceData(
        transformed_keypoints=points,
        keypoints_visible=np.ones((1, KEYPOINTS)))
    sample.gt_instance_labels = InstanceData(
        keypoint_weights=torch.ones(1, KEYPOINTS))
    return sample


def _in_a_run(registry, cfg, name, folder):
    """By the Runner, of what is no part of a model."""
    run = types.SimpleNamespace(
        model=dict(copy.deepcopy(INSTEAD['RepFusion']), trial_size=16,
                   teacher=built_teacher(), type='repfusion_mm.RepFusion'),
        dataset=DIGITS, hooks=[], optim_wrapper=dict(
            optimizer=dict(type='SGD', lr=1e-3)))
    del run.model['reward']
    if registry is DATASETS:
        run.dataset = cfg
        # as in our configs: MMEngine looks into an empty one for ever
        run.hooks.append(dict(type='repfusion_mm.SkippedImagesHook'))
    elif registry is TRANSFORMS:
        run.dataset = dict(
            type='CustomDataset',
            data_root=f'{INSTEAD["TinyImageNet"]["data_root"]}/train',
            pipeline=[cfg, dict(type='PackInputs')])
    elif registry is HOOKS:
        run.hooks.append(cfg)
        if name == 'DPMExportHook':
            run.model = dict(INSTEAD['DPM'], type='repfusion_mm.DPM')
    elif registry is OPTIM_WRAPPERS:
        run.optim_wrapper = dict(run.optim_wrapper, **cfg)
    else:
        run.model = dict(
            INSTEAD['JointRepFusion'], type='repfusion_mm.JointRepFusion',
            time_sampler=dict(type='repfusion_mm.UniformTime'))
        run.optim_wrapper.update(
            constructor=cfg['type'],
            paramwise_cfg=cfg.get('paramwise_cfg'))
    runner = Runner(
        copy.deepcopy(run.model), str(folder), train_dataloader=dict(
            batch_size=8, num_workers=0, dataset=copy.deepcopy(run.dataset),
            sampler=dict(type='InfiniteSampler', shuffle=False),
            collate_fn=dict(type='pseudo_collate')),
        train_cfg=dict(by_epoch=False, max_iters=2),
        optim_wrapper=copy.deepcopy(run.optim_wrapper),
        custom_hooks=copy.deepcopy(run.hooks),
        default_scope='mmpretrain', log_level='ERROR',
        experiment_name=f'{folder.name}_{name}',
        default_hooks=dict(
            logger=dict(type='LoggerHook', interval=100),
            checkpoint=dict(type='CheckpointHook', interval=-1,
                            save_last=False)))
    runner.train()
    return runner.message_hub.get_scalar('train/loss').data[0].tolist()
