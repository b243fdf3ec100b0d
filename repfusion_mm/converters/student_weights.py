"""A checkpoint's weights as those of a plain model."""
import os
import os.path as osp
from collections import Counter, OrderedDict
from typing import Any, Dict, Iterable, List, Optional, Tuple

import torch

from ..models.distillers.loaded_weights import PARTS
from ..safe_loading.reading import read_inert
from ..safe_loading.safetensors_file import write_safetensors
from ..version import __version__


def read_checkpoint(path: str) -> Tuple[Dict[str, Any], Dict[str, Any],
                                        List[str]]:
    """A checkpoint's weights, its meta, and the names of all else.

    Args:
        path (str): Of its file.

    Returns:
        tuple: As said. Where EMAHook was used, MMEngine has put the averages
        into ``state_dict``, and what was trained into ``ema_state_dict``.

    Raises:
        ValueError: If it is none.
    """
    if not osp.isfile(path):
        raise ValueError(f'{path} does not exist')
    try:
        checkpoint = read_inert(path)
    except Exception as error:  # a broken file raises anything
        raise ValueError(f'{path} cannot be read as a checkpoint: '
                         f'{type(error).__name__}: {error}') from None
    if not isinstance(checkpoint, dict):
        raise ValueError(f'{path} is no checkpoint: it holds a '
                         f'{type(checkpoint).__name__}, expected a dict with '
                         'a `state_dict`')
    if 'state_dict' not in checkpoint:
        checkpoint = dict(state_dict=checkpoint)
    weights = checkpoint.pop('state_dict')
    meta = checkpoint.pop('meta', None)
    if not isinstance(weights, dict) or \
            not all(isinstance(key, str) for key in weights):
        raise ValueError(f'{path}: its `state_dict` is no dict of weights')
    return weights, meta if isinstance(meta, dict) else {}, list(checkpoint)


def plain_names(weights: Dict[str, Any],
                backbone_only: bool = False) -> Dict[str, str]:
    """Which weights the plain model has, and by which names.

    Args:
        weights (dict[str, Any]): Of a RepFusion, whose student stays; of a
            JointRepFusion, whose task's model stays; or of a plain model.
        backbone_only (bool): Leave out neck and head. Defaults to False.

    Returns:
        dict[str, str]: For each key that stays, its name in the plain model.

    Raises:
        ValueError: If there is no backbone.
    """
    if any(key.startswith('task.') for key in weights):
        names = {key: key[len('task.'):] for key in weights
                 if key.startswith('task.')}
    elif any(part(key) in PARTS for key in weights):
        names = {key: key for key in weights if part(key) == 'backbone'}
    else:
        names = {key: key for key in weights}
    if backbone_only:
        names = {key: name for key, name in names.items()
                 if part(name) == 'backbone'}
    if 'backbone' not in map(part, names.values()):
        raise ValueError(
            'this is no checkpoint of RepFusion, of JointRepFusion or of a '
            'model with a backbone: expected keys backbone.* or '
            f'task.backbone.*, found {dict(counts(weights))}')
    return names


def part(key: str) -> str:
    """The part of a model that a key is of."""
    return key.split('.')[0]


def counts(keys: Iterable[str]) -> Counter:
    """How many keys there are of each part of a model."""
    return Counter(part(key) for key in keys)


def is_plain(value: Any) -> bool:
    """Whether a value is nothing but texts and numbers, nested or not."""
    if isinstance(value, dict):
        return all(map(is_plain, value)) and all(map(is_plain, value.values()))
    if isinstance(value, (list, tuple)):
        return all(map(is_plain, value))
    return value is None or isinstance(value, (str, bool, int, float))


def plain_weights(weights: Dict[str, Any],
                  names: Dict[str, str]) -> 'OrderedDict[str, torch.Tensor]':
    """Tensors that own what they hold, and no more.

    Args:
        weights (dict[str, Any]): Of a checkpoint.
        names (dict[str, str]): Of :func:`plain_names`.

    Returns:
        OrderedDict[str, Tensor]: A state dict.

    Raises:
        ValueError: If one is no tensor.
    """
    odd = [key for key in names if not isinstance(weights[key], torch.Tensor)]
    if odd:
        raise ValueError(f'{len(odd)} values of the checkpoint are no '
                         f'tensors, for example {odd[:3]}')
    plain = OrderedDict((name, weights[key].detach().clone())
                        for key, name in names.items())
    # the versions of the modules: without them, mmpose and Swin take a file
    # for one of an older release, and convert it
    versions = OrderedDict()
    start = 'task' if any(part(key) == 'task' for key in names) else ''
    for path, version in getattr(weights, '_metadata', {}).items():
        if start and part(path) != start:
            continue
        path = path[len(start):].lstrip('.')
        if (not path or part(path) in counts(plain)) and is_plain(version):
            versions[path] = version
    plain._metadata = versions  # type: ignore[attr-defined]
    return plain


def backbone_weights(weights: Dict[str, Any]
                     ) -> 'OrderedDict[str, torch.Tensor]':
    """The backbone's weights alone, without a prefix.

    Args:
        weights (dict[str, Any]): Of a checkpoint.

    Returns:
        OrderedDict[str, Tensor]: Its state dict.

    Raises:
        ValueError: If there is no backbone.
    """
    plain = plain_weights(weights, plain_names(weights, backbone_only=True))
    found = OrderedDict((key[len('backbone.'):], value)
                        for key, value in plain.items())
    found._metadata = OrderedDict(  # type: ignore[attr-defined]
        (path[len('backbone'):].lstrip('.'), version) for path, version
        in plain._metadata.items() if path)  # type: ignore[attr-defined]
    return found


def write_plain(weights: Dict[str, Any], out: str,
                meta: Optional[dict] = None) -> Dict[str, Any]:
    """Write a plain model's weights.

    Args:
        weights (dict[str, Tensor]): As of :func:`plain_weights`.
        out (str): The file, ``.pth`` or ``.safetensors``.
        meta (dict, optional): Of the checkpoint, of which a little is kept.
            Defaults to None, which writes a bare state dict.

    Returns:
        dict: The meta that was kept.
    """
    kept = {} if meta is None else dict(
        {key: meta[key] for key in ('mmengine_version', 'dataset_meta')
         if key in meta and is_plain(meta[key])},
        repfusion_mm_version=__version__)
    os.makedirs(osp.dirname(osp.abspath(out)), exist_ok=True)
    if out.endswith('.safetensors'):
        write_safetensors(weights, out, {
            key: value for key, value in kept.items()
            if isinstance(value, str)})
    else:
        torch.save(weights if meta is None else
                   dict(meta=kept, state_dict=weights), out)
    return kept
