"""Registries of this package: children of MMEngine's, scope ``repfusion_mm``.

``locations`` lets MMEngine import the modules by itself, so a config needs no
``custom_imports``: ``dict(type='repfusion_mm.RepFusion', ...)`` is enough.
Whoever names anything of ours has MMEngine read checkpoints safely, too.

What is registered here looks at its arguments by their annotations, so that
an error names the config key; see :func:`checked`.
"""
from typing import Any

from mmengine.registry import DATASETS as MMENGINE_DATASETS
from mmengine.registry import HOOKS as MMENGINE_HOOKS
from mmengine.registry import MODELS as MMENGINE_MODELS
from mmengine.registry import (
    OPTIM_WRAPPER_CONSTRUCTORS as MMENGINE_CONSTRUCTORS,
)
from mmengine.registry import OPTIM_WRAPPERS as MMENGINE_OPTIM_WRAPPERS
from mmengine.registry import TRANSFORMS as MMENGINE_TRANSFORMS
from mmengine.registry import Registry as MMEngineRegistry

from .arguments.checked import checked
from .arguments.config_error import UnknownTypeError
from .safe_loading import guard_mmengine

guard_mmengine()


class Registry(MMEngineRegistry):
    """One whose classes look at what a config gives them.

    Classes of others that are registered here are left as they are.
    """

    def get(self, key: Any) -> Any:
        """What is registered under a name.

        Args:
            key (str): The name.

        Returns:
            type or Callable: It.

        Raises:
            UnknownTypeError: A ``KeyError``, if there is none, here or in
                the libraries; the nearest are named.
        """
        found = super().get(key)
        if found is None:
            from .models.utils.nearest import nearest
            near = nearest(key, sorted(
                f'{scope}.{name}' for scope, one in
                {'mmengine': self.parent, **self.parent.children}.items()
                for name in one.module_dict))
            raise UnknownTypeError('type', f' is {key!r}, which no {self.name}'
                                   f' is registered as; nearest: {near}')
        return found

    def _register_module(self, module: Any, *args: Any,
                         **kwargs: Any) -> None:
        if getattr(module, '__module__', '').startswith('repfusion_mm.'):
            module = checked(module)
        super()._register_module(module, *args, **kwargs)


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
