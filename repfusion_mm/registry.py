"""Registries of this package: children of MMEngine's, scope ``repfusion_mm``.

``locations`` lets MMEngine import the modules by itself, so a config needs no
``custom_imports``: ``dict(type='repfusion_mm.RepFusion', ...)`` is enough.
Whoever names anything of ours has MMEngine read checkpoints safely, too.
"""
from mmengine.registry import DATASETS as MMENGINE_DATASETS
from mmengine.registry import HOOKS as MMENGINE_HOOKS
from mmengine.registry import MODELS as MMENGINE_MODELS
from mmengine.registry import (
    OPTIM_WRAPPER_CONSTRUCTORS as MMENGINE_CONSTRUCTORS,
)
from mmengine.registry import OPTIM_WRAPPERS as MMENGINE_OPTIM_WRAPPERS
from mmengine.registry import TRANSFORMS as MMENGINE_TRANSFORMS
from mmengine.registry import Registry

from .safe_loading import guard_mmengine

guard_mmengine()

MODELS = Registry(
    'model',
    parent=MMENGINE_MODELS,
    scope='repfusion_mm',
    locations=['repfusion_mm.models'])
HOOKS = Registry(
    'hook',
    parent=MMENGINE_HOOKS,
    scope='repfusion_mm',
    locations=['repfusion_mm.engine.hooks'])
DATASETS = Registry(
    'dataset',
    parent=MMENGINE_DATASETS,
    scope='repfusion_mm',
    locations=['repfusion_mm.datasets'])
TRANSFORMS = Registry(
    'transform',
    parent=MMENGINE_TRANSFORMS,
    scope='repfusion_mm',
    locations=['repfusion_mm.datasets.transforms'])
OPTIM_WRAPPER_CONSTRUCTORS = Registry(
    'optimizer wrapper constructor',
    parent=MMENGINE_CONSTRUCTORS,
    scope='repfusion_mm',
    locations=['repfusion_mm.engine.optimizers'])
OPTIM_WRAPPERS = Registry(
    'optimizer wrapper',
    parent=MMENGINE_OPTIM_WRAPPERS,
    scope='repfusion_mm',
    locations=['repfusion_mm.engine.optimizers'])
