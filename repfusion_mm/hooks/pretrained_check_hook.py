"""Makes sure that pretrained weights arrive."""
import os.path as osp
from typing import Dict, Iterator, Tuple

import torch
from mmengine.hooks import Hook
from mmengine.model import PretrainedInit, is_model_wrapper
from mmengine.runner import BaseLoop
from mmengine.runner.checkpoint import _load_checkpoint, find_latest_checkpoint
from torch import Tensor, nn

from repfusion_mm.models.nearest import nearest
from repfusion_mm.registry import HOOKS


@HOOKS.register_module()
class PretrainedCheckHook(Hook):
    """Compares every ``init_cfg`` checkpoint with the model, before training.

    MMEngine's ``Pretrained`` only warns when keys or shapes do not fit, and
    the run then trains from scratch. With this hook a missing file, an absent
    prefix, foreign or missing keys, other shapes, and values that did not
    arrive are errors before the first step. A resumed run is not checked.

    Example:
        >>> custom_hooks = [dict(type='repfusion_mm.PretrainedCheckHook')]
    """
    priority = 'VERY_LOW'

    def before_run(self, runner) -> None:
        """Compare keys and shapes, before any weight is touched.

        Args:
            runner (Runner): About to train, or else nothing is done.

        Raises:
            FileNotFoundError: If a checkpoint is not there.
            ValueError: If its keys or shapes do not fit the module.
        """
        trains = isinstance(runner._train_loop, BaseLoop)  # built by train()
        if not trains or _is_resumed(runner):
            return
        for name, module, cfg in _pretrained_modules(runner.model):
            _compare_keys(name, module.state_dict(), _weights(name, cfg), cfg)

    def before_train(self, runner) -> None:
        """Compare values, after all weights are initialised.

        Args:
            runner (Runner): About to train.

        Raises:
            ValueError: If a weight of the model is not the checkpoint's.
        """
        if _is_resumed(runner) or runner._load_from:
            return  # the weights were replaced on purpose
        for name, module, cfg in _pretrained_modules(runner.model):
            given = _weights(name, cfg)
            different = [
                key for key, value in module.state_dict().items()
                if not torch.equal(value.cpu(), given[key].to(value.dtype))]
            if different:
                raise ValueError(
                    f'{name}.init_cfg: {len(different)} weights are not those '
                    f'of {cfg["checkpoint"]} after initialisation, for '
                    f'example {different[:3]}; something initialised them '
                    'again')


def _is_resumed(runner) -> bool:
    """Whether there is something to resume, and not just the wish to."""
    return runner._resume and bool(
        runner._load_from or find_latest_checkpoint(runner.work_dir))


def _pretrained_modules(
        model: nn.Module) -> Iterator[Tuple[str, nn.Module, dict]]:
    """Modules with an ``init_cfg`` of type ``Pretrained``, by name."""
    if is_model_wrapper(model):
        model = model.module
    for name, module in model.named_modules():
        cfgs = getattr(module, 'init_cfg', None) or []
        for cfg in [cfgs] if isinstance(cfgs, dict) else cfgs:
            if cfg['type'] in ('Pretrained', 'mmengine.Pretrained',
                               PretrainedInit):
                yield f'model.{name}' if name else 'model', module, cfg


def _weights(name: str, cfg: dict) -> Dict[str, Tensor]:
    """The weights that the checkpoint holds for a module."""
    path, prefix = cfg['checkpoint'], cfg.get('prefix') or ''
    if '://' not in path and not osp.isfile(path):
        raise FileNotFoundError(f'{name}.init_cfg.checkpoint is {path!r}, '
                                'which is no file; run stage 1 first, or name '
                                'its checkpoint')
    checkpoint = _load_checkpoint(path, map_location='cpu')
    weights = checkpoint.get('state_dict', checkpoint)
    if prefix and not prefix.endswith('.'):
        prefix += '.'
    found = {key[len(prefix):]: value for key, value in weights.items()
             if key.startswith(prefix)}
    if not found:
        prefixes = sorted({key.split('.')[0] + '.' for key in weights})
        raise ValueError(f'{name}.init_cfg.prefix is {prefix!r}, but no key '
                         f'of {path} begins with it; nearest: '
                         f'{nearest(prefix, prefixes)}')
    return found


def _compare_keys(name: str, wanted: Dict[str, Tensor],
                  given: Dict[str, Tensor], cfg: dict) -> None:
    shapes = [
        f'{key}: {tuple(given[key].shape)} in the file, '
        f'{tuple(wanted[key].shape)} in the model'
        for key in wanted if key in given and
        given[key].shape != wanted[key].shape]
    for what, keys in (('keys are missing in the file',
                        sorted(set(wanted) - set(given))),
                       ('keys of the file are foreign to the model',
                        sorted(set(given) - set(wanted))),
                       ('shapes differ', shapes)):
        if keys:
            hint = '' if cfg.get('prefix') else \
                '; a stage-1 checkpoint needs `prefix=\'backbone.\'`'
            raise ValueError(f'{name}.init_cfg: {cfg["checkpoint"]} does not '
                             f'fit: {len(keys)} {what}, for example '
                             f'{keys[:3]}{hint}')
