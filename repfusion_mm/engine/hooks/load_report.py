"""What to say of a checkpoint that was loaded, or that does not fit."""
from typing import Any, Dict, List, NamedTuple, Optional

from mmengine.runner.checkpoint import _load_checkpoint
from torch import Tensor

from repfusion_mm.models.utils.nearest import nearest

from .weight_arrivals import Load
from .where_weights_fit import where_weights_fit


class Road(NamedTuple):
    """By which weights come into a model.

    Attributes:
        key (str): ``'load_from'``, ``'resume'`` or the ``init_cfg`` of a
            module, ``'model.backbone.init_cfg'``.
        path (str): The checkpoint.
        prefix (str): Of the weights in it, as the config says; empty or with
            a dot at the end.
    """
    key: str
    path: str
    prefix: str = ''


def arrival(road: Road, weights: Dict[str, Tensor], missing: List[str],
            load: Load) -> str:
    """What came of a load that is good enough.

    Args:
        road (Road): The config's words for it.
        weights (dict[str, Tensor]): What the module should be given, by name.
        missing (list[str]): Which of them were not.
        load (Load): What was watched.

    Returns:
        str: How many arrived, which did not, and what was left over.
    """
    text = f'{road.key}: of {road.path} {len(weights) - len(missing)} of ' \
        f'{len(weights)} weights arrived' + _surplus(load)
    parts: Dict[str, List[str]] = {}
    for name in missing:
        parts.setdefault(name.split('.')[0], []).append(name)
    for part, names in parts.items():
        text += f'; NOT {len(names)} of `{part}`, which keep their initial ' \
            f'values: {_examples(names, weights, load)}'
    return text


def refusal(road: Road, weights: Dict[str, Tensor], missing: List[str],
            load: Optional[Load]) -> str:
    """Why a load is not good enough, and what would be.

    Args:
        road (Road): As :func:`arrival`.
        weights (dict[str, Tensor]): As :func:`arrival`.
        missing (list[str]): As :func:`arrival`, not empty.
        load (Load, optional): As :func:`arrival`; None if there was none.

    Returns:
        str: For an error.
    """
    if load is None:
        return (f'{road.key}: {len(missing)} weights are not those of '
                f'{road.path} after initialisation, for example {missing[:3]};'
                ' nothing loaded them: something kept `init_weights` from '
                'being called')
    other = [name for name in missing if load.given.get(name) is not None]
    absent = [name for name in missing if name not in other]
    text = f'{road.key}: {road.path} does not fit'
    for what, names in (('keys are missing in the file', absent),
                        ('shapes differ', other)):
        if names:
            text += f': {len(names)} {what}, for example ' \
                f'{_examples(names, weights, load)}'
    text += _surplus(load) + _remedy(road, list(weights))
    if len(missing) < len(weights) and road.key != 'resume':
        text += '; if these shall keep their initial values, leave out ' \
            'PretrainedCheckHook'
    return text


def absent_prefix(road: Road, wanted: List[str]) -> Optional[str]:
    """Why MMEngine finds nothing in a file.

    Args:
        road (Road): With a prefix.
        wanted (list[str]): Names of what the module should be given.

    Returns:
        str, optional: For an error; None if that is not why.
    """
    keys = list(_state_dict(road.path))
    if any(key.startswith(road.prefix) for key in keys):
        return None
    prefixes = sorted({key.split('.')[0] + '.' for key in keys})
    return (f'{road.key}.prefix is {road.prefix!r}, but no key of {road.path} '
            f'begins with it; nearest: {nearest(road.prefix, prefixes)}'
            + _remedy(road, wanted))


def _state_dict(path: str) -> Dict[str, Any]:
    """All that MMEngine's loader looks at in a file."""
    checkpoint = _load_checkpoint(path, map_location='cpu')
    return checkpoint.get('state_dict', checkpoint)


def _surplus(load: Load) -> str:
    return f'; {len(load.unexpected)} keys of the file have no place in the ' \
        f'model, for example {load.unexpected[:3]}' if load.unexpected else ''


def _examples(names: List[str], weights: Dict[str, Tensor],
              load: Load) -> List[str]:
    return [name if load.given.get(name) is None else
            f'{name}: {load.given[name]} in the file, '
            f'{tuple(weights[name].shape)} in the model'
            for name in names[:3]]


def _remedy(road: Road, wanted: List[str]) -> str:
    """What to write instead, if the file's weights fit anywhere."""
    state = _state_dict(road.path)
    nested = [name for name, value in state.items() if isinstance(value, dict)
              and any(isinstance(one, Tensor) for one in value.values())]
    if nested:
        return (f'; its weights lie under {nested}, and MMEngine reads '
                f'`state_dict`: save `torch.load(...)[{nested[0]!r}]` alone')
    fit = where_weights_fit(wanted, state)
    if fit is None:
        return '; it seems to be of another model'
    part, prefix = fit
    if not part and prefix == road.prefix:
        if road.key == 'resume':
            return '; to start anew from what fits, name it as `load_from` ' \
                'without `resume`'
        return '; the loader of this module does not know `prefix`: save ' \
            'the weights without it, as publish_student.py does' \
            if prefix else ''
    if not part and road.key.endswith('init_cfg'):
        return f'; its keys need `prefix={prefix!r}`' if prefix else \
            '; its keys need no `prefix`'
    module = road.key[:-len('init_cfg')] if road.key.endswith('init_cfg') \
        else 'model.'
    more = f', prefix={prefix!r}' if prefix else ''
    instead = '' if road.key.endswith('init_cfg') else \
        f', without `{road.key}`'
    return (f"; it would fit as {module}{part}init_cfg=dict(type='Pretrained',"
            f' checkpoint={road.path!r}{more}){instead}')
