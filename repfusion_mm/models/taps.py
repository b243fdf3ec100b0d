"""Taps: the places in a network whose features are wanted, by module path."""
from collections import Counter
from typing import Any, Callable, Dict, Optional, Sequence, Tuple

import torch
from torch import Tensor, nn

from .nearest import nearest


class _DeepestTapReached(Exception):
    """Ends a forward pass early: nothing behind the last tap is needed."""


class Taps:
    """The features of a network at some of its module paths.

    A tap is a path as ``nn.Module.get_submodule`` takes it, or ``out.<i>``,
    the i-th output of the network itself. Of a module that fires several
    times in one forward pass the last call counts. A feature that the network
    later changes in place (a norm followed by ``+=``) is noticed in the trial
    pass by its version counter, and from then on cloned when captured.

    The object holds no module and no tensor, so it is copied and pickled
    freely, and leaves no hook behind.

    Args:
        root (nn.Module): The network.
        paths (Sequence[str]): The taps.
        *trial (Any): Arguments of a trial forward pass, which tells shapes;
            tensors on the meta device will do if ``root`` lies there too.
        call (Callable, optional): What is called with them in place of
            ``root``, one of its methods. Defaults to None.
        key (str): The config key that named the paths, for error messages.

    Attributes:
        shapes (dict[str, tuple]): Shape of each feature without the batch.

    Raises:
        ValueError: If a path names no module, or no single tensor comes out.
    """

    def __init__(self,
                 root: nn.Module,
                 paths: Sequence[str],
                 *trial: Any,
                 call: Optional[Callable] = None,
                 key: str = 'taps') -> None:
        self.paths = tuple(dict.fromkeys(paths))
        self.key = key
        self._clone = frozenset()
        self._last_calls = None
        modules = [name for name, _ in root.named_modules() if name]
        for path in self.paths:
            if path not in modules and not _is_output(path):
                raise ValueError(
                    f'`{key}` names {path!r}, which is no module of '
                    f'{type(root).__name__}; nearest: {nearest(path, modules)}'
                    ', or \'out.<i>\' for its i-th output')
        with torch.no_grad():
            _, features, calls, changed = self._run(root, trial, call=call)
        for path in self.paths:
            if path not in features:
                raise ValueError(f'`{key}` names {path!r}, a module that '
                                 f'{type(root).__name__} never calls')
        self._clone = frozenset(changed)
        self._last_calls = calls
        self.shapes = {path: tuple(features[path].shape[1:])
                       for path in self.paths}

    def forward(self,
                root: nn.Module,
                *args: Any,
                stop: bool = False,
                call: Optional[Callable] = None
                ) -> Tuple[Any, Dict[str, Tensor]]:
        """Run the network and collect the features.

        Args:
            root (nn.Module): The network, or a copy of it.
            *args (Any): Its arguments.
            stop (bool): Whether to end the pass at the deepest tap.
            call (Callable, optional): As in the trial.

        Returns:
            tuple: The network's output (None if the pass ended early) and the
            features by tap.
        """
        output, features, _, changed = self._run(root, args, stop, call)
        if changed:
            raise RuntimeError(
                f'`{self.key}`: the features of {sorted(changed)} were '
                'changed in place after they were captured, which they were '
                'not in the trial pass; tap the module that changes them '
                'instead')
        return output, features

    def _run(self, root, args, stop=False, call=None):
        features: Dict[str, Tensor] = {}
        versions: Dict[str, int] = {}
        calls: Counter = Counter()
        pending = None
        if stop and not any(_is_output(path) for path in self.paths):
            pending = set(self.paths)

        def keep(path: str, output: Any) -> None:
            feature = _single_tensor(output, path, self.key)
            features[path] = feature.clone() if path in self._clone \
                else feature
            versions[path] = features[path]._version

        def hook_of(path: str):

            def hook(module, inputs, output):
                calls[path] += 1
                keep(path, output)
                if pending is not None and \
                        calls[path] == self._last_calls[path]:
                    pending.discard(path)
                    if not pending:
                        raise _DeepestTapReached

            return hook

        handles = [
            root.get_submodule(path).register_forward_hook(hook_of(path))
            for path in self.paths if not _is_output(path)
        ]
        output = None
        try:
            output = (call or root)(*args)
        except _DeepestTapReached:
            pass
        finally:
            for handle in handles:
                handle.remove()
        for path in self.paths:
            if _is_output(path):
                outputs = output if isinstance(output, (tuple, list)) \
                    else (output, )
                index = int(path[4:])
                if not -len(outputs) <= index < len(outputs):
                    raise ValueError(
                        f'`{self.key}` names {path!r}, but '
                        f'{type(root).__name__} has {len(outputs)} output(s)')
                keep(path, outputs[index])
        changed = [path for path, feature in features.items()
                   if feature._version != versions[path]]
        return output, features, calls, changed


def modules_behind(root: nn.Module, taps: Taps, *trial: Any) -> list:
    """Names of the modules that only run behind the deepest tap.

    Args:
        root (nn.Module): The network, on the meta device for speed.
        taps (Taps): Its taps.
        *trial (Any): Arguments of a trial forward pass.

    Returns:
        list[str]: Outermost names first found; their weights are not needed.
    """
    whole = _modules_called(root, taps, trial, stop=False)
    until = _modules_called(root, taps, trial, stop=True)
    behind: list = []
    for name, module in root.named_modules():
        inside = {child for child, _ in module.named_modules(prefix=name)}
        if name and inside & whole and not inside & until and \
                not any(name.startswith(f'{outer}.') for outer in behind):
            behind.append(name)
    return behind


def _modules_called(root, taps, trial, stop) -> set:
    called: set = set()

    def hook_of(name: str):
        return lambda module, inputs: called.add(name)

    handles = [module.register_forward_pre_hook(hook_of(name))
               for name, module in root.named_modules()]
    try:
        with torch.no_grad():
            taps.forward(root, *trial, stop=stop)
    finally:
        for handle in handles:
            handle.remove()
    return called


def _is_output(path: str) -> bool:
    return path.startswith('out.') and path[4:].lstrip('-').isdigit()


def _single_tensor(output: Any, path: str, key: Optional[str]) -> Tensor:
    if isinstance(output, (tuple, list)) and len(output) == 1:
        output = output[0]
    if not isinstance(output, Tensor):
        raise ValueError(f'`{key}` names {path!r}, which returns '
                         f'{type(output).__name__} and not one tensor; tap a '
                         'module inside it')
    return output
