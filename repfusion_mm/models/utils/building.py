"""Building a nested part of a config under the scope that its type names."""
import inspect
from typing import Any

from torch import nn

from ...arguments.checked import check_names
from ...arguments.config_error import ConfigError, UnknownTypeError, under
from ...registry import DATASETS, MODELS
from .nearest import nearest


def build_part(key: str, cfg: Any, **defaults: Any) -> Any:
    """Build one part of a model config.

    A scoped type switches the default scope for everything nested in it: the
    unscoped ``ResNet`` inside an ``mmseg.`` model is mmseg's, whatever the
    scope of the config around it.

    Args:
        key (str): The config key of the part, for error messages.
        cfg (dict or nn.Module): Its config; a built module is returned as is.
        **defaults: Arguments that the config may override. Those that the
            part's class has no parameter for are left out.

    Returns:
        nn.Module: The part.

    Raises:
        TypeError: If ``cfg`` is no config with a ``type``, or its class takes
            other arguments; the nearest are named.
        KeyError: If the type is registered nowhere; the nearest are named.
    """
    if isinstance(cfg, nn.Module):
        return cfg
    with under(key):
        return _build(cfg, defaults)


def _build(cfg: Any, defaults: dict) -> Any:
    if not isinstance(cfg, dict) or 'type' not in {**defaults, **cfg}:
        raise ConfigError('', ' must be a config dict with a `type`, got '
                          f'{cfg!r}')
    name = cfg.get('type', defaults.get('type'))
    scope = name.split('.')[0] if isinstance(name, str) and '.' in name \
        else None
    with MODELS.switch_scope_and_registry(scope) as registry:
        if isinstance(name, str) and not _is_registered(name, registry):
            raise UnknownTypeError(
                'type', f' is {name!r}, which is registered nowhere; nearest: '
                f'{nearest(name, _registered_names(registry))}')
        cls = registry.get(name) if isinstance(name, str) else name
        if not callable(cls):
            raise ConfigError('type', f' is {name!r}, expected a registered '
                              'name, or a class')
        accepted = _accepted(cls, defaults)
        # for classes of other libraries, too
        check_names(inspect.signature(cls), getattr(cls, '__name__', cls), (),
                    {key: value for key, value in {**accepted, **cfg}.items()
                     if key not in ('type', '_scope_')})
        return registry.build(cfg, default_args=accepted)


def _accepted(cls: Any, arguments: dict) -> dict:
    """The arguments that a class has a parameter for, and the type."""
    parameters = inspect.signature(cls).parameters
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return arguments
    return {name: value for name, value in arguments.items()
            if name in parameters or name == 'type'}


def build_dataset(key: str, cfg: Any) -> Any:
    """Build a data set of any library.

    Args:
        key (str): Its config key, for error messages.
        cfg (dict or BaseDataset): Its config; a built one is returned as is.

    Returns:
        BaseDataset: The data set.

    Raises:
        ConfigError: If it cannot be built.
    """
    if not isinstance(cfg, dict):
        return cfg
    with under(key):
        return DATASETS.build(cfg)


def preprocessor_config(cfg: Any) -> Any:
    """A data preprocessor's config with the default type filled in.

    Args:
        cfg (dict or nn.Module, optional): As in the model config. None stacks
            the images as they are, 0 to 255.

    Returns:
        dict or nn.Module: With MMEngine's ``ImgDataPreprocessor`` as type
        where none is named.
    """
    if isinstance(cfg, nn.Module):
        return cfg
    return {'type': 'mmengine.ImgDataPreprocessor', **(cfg or {})}


def _is_registered(name: str, registry: Any) -> bool:
    try:
        return registry.get(name) is not None
    except Exception:  # MMEngine raises several kinds for an unknown name
        return False


def _registered_names(registry: Any) -> list:
    names = []
    for node in {registry, MODELS}:
        node.import_from_location()
        names += [f'{node.scope}.{name}' for name in node.module_dict]
    return sorted(names)
