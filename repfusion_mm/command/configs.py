"""The configs of the trainings: this repository's, with a plan filled in."""
import copy
import os
import os.path as osp
from pathlib import Path
from typing import Optional

from mmengine.config import Config
from mmengine.device import get_device

import repfusion_mm
from repfusion_mm.engine.mixed_precision import use_amp

from .image_list import image_list, sized
from .plan import Plan
from .plan_error import PlanError
from .rules import LEAST_WATCHED, OWN_DPM_SIZE, batch_size
from .students import MIDDLING, find_student

SHORT = 10000  # steps, below which a diffusion model is trained faster
QUALITY_IMAGES = 256


def read_config(name: str) -> Config:
    """One of this repository's configs, from a checkout or installed.

    Args:
        name (str): Below ``configs``.

    Returns:
        Config: It.
    """
    package = Path(repfusion_mm.__file__).parent
    folders = [package / '.mim' / 'configs', package.parent / 'configs']
    found = next(folder for folder in folders if folder.is_dir())
    return Config.fromfile(str(found / name))


def dpm_config(plan: Plan) -> Config:
    """The training of a diffusion model of the images."""
    cfg = read_config('dpm/unet_64px_folder.py')
    size, steps = min(plan.size, OWN_DPM_SIZE), plan.steps['dpm']
    denoiser = cfg.model.denoiser
    denoiser.sample_size = size
    if size < 32:  # nothing would be left of the image in the middle
        for key in ('block_out_channels', 'down_block_types'):
            denoiser[key] = denoiser[key][1:]
        denoiser.up_block_types = denoiser.up_block_types[:-1]
    cfg.train_dataloader.dataset = image_list(
        plan.list('distill'),
        sized(cfg.train_dataloader.dataset.pipeline, size, plan.flip))
    set_steps(cfg, plan, steps, plan.images)
    if steps < SHORT:
        cfg.optim_wrapper.optimizer.lr = 1e-3
        cfg.param_scheduler = dict(
            type='OneCycleLR', eta_max=1e-3, total_steps=steps,
            by_epoch=False)
    # weights from before the training would stay in the average
    cfg.custom_hooks[0].momentum = min(0.5, max(
        cfg.custom_hooks[0].momentum, 10 / steps))
    return cfg


def teacher_config(plan: Plan) -> dict:
    """The teacher: the one that is named, or the one that is trained."""
    return dict(
        type='repfusion_mm.DiffusionTeacher',
        pretrained=plan.teacher or osp.join(plan.out, 'dpm', 'dpm'))


def distill_config(plan: Plan, teacher: dict, tap: str, t: int) -> Config:
    """Stage 1.

    Args:
        plan (Plan): What is done.
        teacher (dict): Config of the teacher.
        tap (str): Of it.
        t (int): The time step; where the policy chooses, it is not asked.

    Returns:
        Config: With images by their absolute paths.
    """
    cfg = read_config('distill/repfusion_resnet18_64px_folder.py')
    backbone, _ = student_config(plan)
    pipeline = sized(cfg.train_pipeline, plan.size, plan.flip)
    model = dict(
        backbone=dict(_delete_=True, **backbone),
        teacher=dict(_delete_=True, **teacher),
        connections=[dict(student_tap='out.-1', teacher_tap=tap,
                          loss=dict(type='repfusion_mm.HintLoss', pool=True))])
    images = image_list(plan.list('distill'), pipeline)
    if plan.time == 'reinforced':
        mixture = cfg.train_dataloader.dataset
        mixture.datasets[0].dataset = images
        mixture.datasets[1].dataset = image_list(
            plan.list('labelled'), pipeline, plan.classes)
        # a quarter of each batch
        mixture.datasets[1].times = max(
            1, round(plan.images / (3 * plan.labelled)))
    else:
        model['time_sampler'] = dict(
            _delete_=True, type='repfusion_mm.FixedTime', t=t)
        cfg.model.pop('reward')
        cfg.optim_wrapper.pop('paramwise_cfg')
        cfg.train_dataloader.dataset = images
    cfg.merge_from_dict(dict(model=model))
    set_steps(cfg, plan, plan.steps['distill'], plan.images)
    watched = 'labelled' if plan.classes else 'watched'
    if max(plan.labelled, plan.watched) >= LEAST_WATCHED:
        cfg.custom_hooks.append(dict(
            type='repfusion_mm.FeatureQualityHook',
            num_images=QUALITY_IMAGES,
            interval=max(1, plan.steps['distill'] // 10),
            dataset=image_list(plan.list(watched), sized(
                cfg.test_pipeline, plan.size), plan.classes)))
    return self_contained(cfg)


def classifier_config(plan: Plan, arm: str,
                      backbone_file: Optional[str]) -> Config:
    """A classifier of the labelled images, tested on those held out.

    Args:
        plan (Plan): What is done.
        arm (str): Of ``plan.steps``.
        backbone_file (str, optional): What it starts from. None: from
            scratch.

    Returns:
        Config: Without validation.
    """
    cfg = read_config('mmpretrain/resnet18_64px_folder.py')
    backbone, width = student_config(plan)
    if backbone_file is not None:
        backbone['init_cfg'] = dict(type='Pretrained', prefix='backbone.',
                                    checkpoint=backbone_file)
    cfg.merge_from_dict(dict(model=dict(
        backbone=dict(_delete_=True, **backbone),
        head=dict(in_channels=width, num_classes=len(plan.classes)))))
    cfg.train_dataloader.dataset = image_list(
        plan.list('labelled'), sized(cfg.train_pipeline, plan.size,
                                     plan.flip), plan.classes)
    cfg.test_dataloader.dataset = image_list(
        plan.list('test'), sized(cfg.test_pipeline, plan.size), plan.classes)
    cfg.test_dataloader.num_workers = plan.workers
    cfg.model.data_preprocessor = cfg.data_preprocessor
    set_steps(cfg, plan, plan.steps[arm], plan.labelled)
    return self_contained(cfg)


def student_config(plan: Plan) -> tuple:
    """The student's backbone at the plan's size, and its width.

    Args:
        plan (Plan): Its ``student`` and ``size``.

    Returns:
        tuple[dict, int]: Config, and channels of the last output.

    Raises:
        PlanError: If it cannot look at images of that size.
    """
    student = find_student(plan.student)
    cfg = read_config(f'_base_/students/{student.file_for(plan.size)}.py')
    backbone = copy.deepcopy(cfg.backbone.to_dict())
    if 'strides' in backbone and plan.size > MIDDLING:
        backbone = backbone['backbone']  # which divides the side by 32
    if 'img_size' in backbone:
        patch = backbone['patch_size']
        if plan.size % patch:
            raise PlanError(f'--size is {plan.size}, but {plan.student} has '
                            f'patches of {patch} pixels there: expected a '
                            'multiple')
        backbone['img_size'] = plan.size
    return backbone, cfg.feature_dim


def set_steps(cfg: Config, plan: Plan, steps: int, images: int) -> None:
    """How long a training is, and what follows from it.

    Args:
        cfg (Config): Is changed.
        plan (Plan): What is done.
        steps (int): Of the training.
        images (int): It has.
    """
    cfg.train_cfg = dict(by_epoch=False, max_iters=steps)
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    cfg.randomness.seed = plan.seed
    cfg.default_hooks.checkpoint.interval = min(1000, max(5, steps // 5))
    cfg.default_hooks.logger.interval = min(100, max(1, steps // 50))
    loader = cfg.train_dataloader
    loader.batch_size = batch_size(images)
    loader.num_workers = plan.workers
    if cfg.model.type != 'repfusion_mm.DPM':
        schedule = find_student(plan.student).schedule
        cfg.merge_from_dict(dict(optim_wrapper=read_config(
            f'_base_/schedules/{schedule}.py').optim_wrapper))
        warm_up = min(500, max(1, steps // 10))
        cfg.param_scheduler[0].end = warm_up
        cfg.param_scheduler[1].begin = warm_up
    if plan.amp:
        use_amp(cfg, get_device())


def self_contained(cfg: Config) -> Config:
    """A config without what only other configs would inherit.

    Args:
        cfg (Config): Is changed.

    Returns:
        Config: Of its own.
    """
    for key in ('train_pipeline', 'test_pipeline', 'backbone', 'feature_dim',
                'data_preprocessor'):
        cfg.pop(key, None)
    return Config(cfg.to_dict())


def dump(cfg: Config, path: str) -> None:
    """Write a config, whole or not at all.

    Args:
        cfg (Config): It.
        path (str): Ends in ``.py``.
    """
    cfg.dump(f'{path}.part.py')
    os.replace(f'{path}.part.py', path)
