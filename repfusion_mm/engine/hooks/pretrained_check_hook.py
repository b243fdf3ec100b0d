"""Makes sure that pretrained weights arrive."""
import functools
import logging
import os.path as osp
from typing import Any, Dict, Iterator, List, Optional, Set, Tuple

from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.model import BaseModel
from mmengine.runner import BaseLoop
from mmengine.runner.checkpoint import find_latest_checkpoint
from torch import Tensor, nn

from repfusion_mm.registry import HOOKS

from .bare_model import bare_model
from .load_report import Road, absent_prefix, arrival, refusal
from .weight_arrivals import Load, WeightArrivals


@HOOKS.register_module()
class PretrainedCheckHook(Hook):
    """Stops before the first step if pretrained weights did not arrive.

    MMEngine only warns when the keys or shapes of a checkpoint do not fit, and
    the run then trains from scratch. This hook watches every load, whoever
    does it and however it converts what the file holds, and looks at what has
    arrived: parameters, and the running statistics of norms.

    - ``init_cfg`` with a ``checkpoint``: all weights of that module must have
      arrived, and must still be there when training starts; of a whole model,
      all of its ``backbone``.
    - ``load_from``: all weights of the ``backbone``, or of a model that has
      none, all of them. A head for other classes may start anew.
    - ``resume``: all weights of the model. Its ``init_cfg`` is not looked at.

    What of the rest keeps its initial values, and which keys of the file have
    no place in the model (torchvision's ``fc.weight`` in a backbone), is only
    said in the log.

    Example:
        >>> custom_hooks = [dict(type='repfusion_mm.PretrainedCheckHook')]
    """
    priority = 'VERY_LOW'

    def __init__(self) -> None:
        self._arrivals: Optional[WeightArrivals] = None
        self._named: List[Tuple[Road, Any]] = []
        self._road: Optional[Road] = None  # beside `init_cfg`
        self._initial: List[Load] = []  # those by `init_cfg`

    def before_run(self, runner) -> None:
        """Look for the files, and start to watch, before any weight is set.

        Args:
            runner (Runner): About to train, or else nothing is done.

        Raises:
            FileNotFoundError: If a checkpoint is not there.
        """
        self._close()
        if not isinstance(runner._train_loop, BaseLoop):  # built by train()
            return
        if runner._load_from:
            _check_file('load_from', runner._load_from, 'name a checkpoint')
        model = bare_model(runner)
        if not _resumed_from(runner):
            self._named = list(_pretrained_modules(model))
        for road, module in self._named:
            _check_file(f'{road.key}.checkpoint', road.path,
                        'run stage 1 first, or name its checkpoint')
            _tell_more(road, module)
        self._arrivals = WeightArrivals(
            model, functools.partial(self._after_load, model))

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        """Note that the next load is that of ``load_from`` or of a resume.

        Args:
            runner (Runner): Loads a checkpoint.
            checkpoint (dict): What it has read.
        """
        if self._arrivals is not None:
            self._initial = list(self._arrivals.loads)
            resumed = _resumed_from(runner)
            self._road = Road('resume', resumed) if resumed else \
                Road('load_from', runner._load_from)

    def _after_load(self, model: nn.Module, load: Load) -> None:
        """At the end of a load, before an optimizer is resumed."""
        if self._road is None or load.module is not model:
            return
        weights = _learned(model)
        missing = [name for name, value in weights.items()
                   if id(value) not in load.reached]
        needed = set(weights) if self._road.key == 'resume' else _core(model)
        if needed & set(missing) or 0 < len(weights) == len(missing):
            raise ValueError(refusal(self._road, weights, missing, load))
        _say(arrival(self._road, weights, missing, load), missing)

    def before_train(self, runner) -> None:
        """Look at what has arrived, after all weights are initialised.

        Args:
            runner (Runner): About to train.

        Raises:
            ValueError: If weights did not arrive, or were replaced since.
        """
        if self._arrivals is None:
            return
        arrivals = self._arrivals
        if self._road is None:
            self._initial = arrivals.loads
        for road, module in self._named:
            self._check_module(road, module, arrivals)
        if self._road is not None:
            _check_values(self._road, _learned(bare_model(runner)), arrivals)
        self._close()

    def _check_module(self, road: Road, module: nn.Module,
                      arrivals: WeightArrivals) -> None:
        """Whether an ``init_cfg`` has done what it says."""
        weights = _learned(module)
        missing = [name for name, value in weights.items()
                   if not arrivals.arrived(value)]
        loads = [load for load in self._initial if load.module is module]
        for load in loads:
            if not load.reached & {id(value) for value in weights.values()}:
                missing = list(weights)  # whatever another load has done
        if _core(module) & set(missing):
            parts = set(module.modules())  # some load these one by one
            loads = loads or [load for load in self._initial
                              if load.module in parts]
            raise ValueError(refusal(road, weights, missing,
                                     loads[-1] if loads else None))
        _check_values(road, weights, arrivals)
        for load in loads[-1:]:
            _say(arrival(road, weights, missing, load), missing)

    def _close(self) -> None:
        for _, module in self._named:
            module.__dict__.pop('init_weights', None)
        if self._arrivals is not None:
            self._arrivals.close()
        self._arrivals, self._road = None, None
        self._named, self._initial = [], []


def _resumed_from(runner) -> Optional[str]:
    """The checkpoint that is resumed from; None if there is only the wish."""
    if not runner._resume:
        return None
    return runner._load_from or find_latest_checkpoint(runner.work_dir)


def _pretrained_modules(model: nn.Module) -> Iterator[Tuple[Road, Any]]:
    """Modules whose ``init_cfg`` names a checkpoint."""
    for name, module in model.named_modules():
        if getattr(module, 'is_init', False):
            continue  # MMEngine will not initialise it again
        cfgs = getattr(module, 'init_cfg', None) or []
        for cfg in [cfgs] if isinstance(cfgs, dict) else cfgs:
            if isinstance(cfg, dict) and cfg.get('checkpoint') is not None:
                key = f'model.{name}.init_cfg' if name else 'model.init_cfg'
                prefix = cfg.get('prefix') or ''
                if prefix and not prefix.endswith('.'):
                    prefix += '.'
                yield Road(key, cfg['checkpoint'], prefix), module


def _check_values(road: Road, weights: Dict[str, Tensor],
                  arrivals: WeightArrivals) -> None:
    changed = [name for name, value in weights.items()
               if arrivals.changed(value)]
    if changed:
        raise ValueError(
            f'{road.key}: {len(changed)} weights are not those of {road.path} '
            f'after initialisation, for example {changed[:3]}; something '
            'initialised them again')


def _say(text: str, missing: List[str]) -> None:
    print_log(text, 'current', logging.WARNING if missing else logging.INFO)


def _check_file(key: str, path: str, remedy: str) -> None:
    if '://' not in path and not osp.isfile(osp.expanduser(path)):
        raise FileNotFoundError(f'{key} is {path!r}, which is no file; '
                                f'{remedy}')


def _learned(module: nn.Module) -> Dict[str, Tensor]:
    """What a checkpoint must bring: no counters, no tables of indices."""
    return {key: value for key, value
            in module.state_dict(keep_vars=True).items()
            if isinstance(value, nn.Parameter) or
            key.endswith(('running_mean', 'running_var'))}


def _core(module: nn.Module) -> Set[str]:
    """Names of the weights without which nothing is pretrained."""
    weights = _learned(module)
    backbone = getattr(module, 'backbone', None)
    if not (isinstance(module, BaseModel) and isinstance(backbone, nn.Module)):
        return set(weights)
    inside = {id(value) for value in _learned(backbone).values()}
    return {name for name, value in weights.items() if id(value) in inside}


def _tell_more(road: Road, module: Any) -> None:
    """Lets ``init_weights`` say more where MMEngine has an assertion."""
    init_weights = module.init_weights

    @functools.wraps(init_weights)
    def init(*args: Any, **kwargs: Any) -> Any:
        try:
            return init_weights(*args, **kwargs)
        except AssertionError as error:
            text = absent_prefix(road, list(_learned(module)))
            if text is None:
                raise
            raise ValueError(text) from error

    module.init_weights = init
