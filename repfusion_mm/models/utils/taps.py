"""Taps: the places in a network whose features are wanted, by module path."""
from collections import Counter
from typing import (
    Any,
    Callable,
    Dict,
    FrozenSet,
    List,
    Optional,
    Sequence,
    Set,
    Tuple,
)

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

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

    Of a module that returns a tuple, or an output class of diffusers or
    transformers, the feature is its first element, the hidden states, where
    that is its only tensor; where there are others it is refused, unless
    ``hidden_first``.

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
        hidden_first (bool): Whether the first of several tensors is the
            hidden states, as in the blocks of diffusers. Defaults to False.
        hidden (Callable, optional): Given a path and what the module there
            returns, gives what counts as its output. Defaults to None: what
            it returns.

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
                 key: str = 'taps',
                 hidden_first: bool = False,
                 hidden: Optional[Callable[[str, Any], Any]] = None) -> None:
        self.paths = tuple(dict.fromkeys(paths))
        self.key = key
        self.hidden_first = hidden_first
        self.hidden = hidden
        self._clone: FrozenSet[str] = frozenset()
        self._last_calls: Counter = Counter()
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
                inside = [f'{path}.{name}' for name, _
                          in root.get_submodule(path).named_children()]
                raise ValueError(
                    f'`{key}` names {path!r}, a module that '
                    f'{type(root).__name__} never calls'
                    + (f'; inside it are {nearest(path, inside)}' if inside
                       else ''))
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

    def _run(self,
             root: nn.Module,
             args: Sequence[Any],
             stop: bool = False,
             call: Optional[Callable] = None
             ) -> Tuple[Any, Dict[str, Tensor], Counter, List[str]]:
        features: Dict[str, Tensor] = {}
        versions: Dict[str, int] = {}
        calls: Counter = Counter()
        pending: Optional[Set[str]] = None
        if stop and not any(_is_output(path) for path in self.paths):
            pending = set(self.paths)

        def keep(path: str, output: Any) -> None:
            feature = self._feature(output, path)
            features[path] = feature.clone() if path in self._clone \
                else feature
            versions[path] = features[path]._version

        def hook_of(path: str) -> Callable:

            def hook(module: nn.Module, inputs: Any, output: Any) -> None:
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

    def _feature(self, output: Any, path: str) -> Tensor:
        """The one tensor that a module's output stands for."""
        given = type(output).__name__
        if self.hidden is not None:
            output = self.hidden(path, output)
        if hasattr(output, 'to_tuple'):  # of diffusers and transformers
            output = output.to_tuple()
        if isinstance(output, (tuple, list)):
            tensors = [isinstance(one, Tensor) for one in output]
            given += f' ({sum(tensors)} tensors of {len(tensors)} elements)'
            if len(output) == 1 or isinstance(output, tuple) and (
                    tensors[:1] == [True]
                    and (self.hidden_first or sum(tensors) == 1)):
                output = output[0]
        if not isinstance(output, Tensor):
            raise ValueError(f'`{self.key}` names {path!r}, which returns '
                             f'{given} and not one tensor; tap a module '
                             'inside it')
        return output


def modules_behind(root: nn.Module, taps: Taps, *trial: Any,
                   call: Optional[Callable] = None) -> list:
    """Names of the modules that are only used behind the deepest tap.

    A module is used when it is called, and also when another one reads one of
    its weights.

    Args:
        root (nn.Module): The network, on the meta device for speed.
        taps (Taps): Its taps.
        *trial (Any): Arguments of a trial forward pass.
        call (Callable, optional): As in :class:`Taps`.

    Returns:
        list[str]: Outermost names first found; their weights are not needed.
    """
    whole = _modules_used(root, taps, trial, False, call)
    until = _modules_used(root, taps, trial, True, call)
    behind: list = []
    for name, module in root.named_modules():
        inside = set(module.modules())
        if name and inside & whole and not inside & until and \
                not any(name.startswith(f'{outer}.') for outer in behind):
            behind.append(name)
    return behind


def drop_weights(root: nn.Module, names: Sequence[str]) -> None:
    """Let go of the weights and buffers of modules that are not needed.

    The modules stay where they are, so that what runs before them may still
    look at them: count a list of them, or ask for a kind of block.

    Args:
        root (nn.Module): The network; changed in place.
        names (Sequence[str]): As :func:`modules_behind` finds them.
    """
    for name in names:
        for module in root.get_submodule(name).modules():
            for weights in (module._parameters, module._buffers):
                weights.update(dict.fromkeys(weights))


class _WeightsRead(TorchFunctionMode):
    """Notes whose weights any function of PyTorch is given."""

    def __init__(self, root: nn.Module) -> None:
        super().__init__()
        self.modules: set = set()
        self._owners: Dict[int, set] = {}
        for module in root.modules():
            for weight in (*module.parameters(recurse=False),
                           *module.buffers(recurse=False)):
                self._owners.setdefault(id(weight), set()).add(module)

    def __torch_function__(self,
                           function: Callable,
                           types: Any,
                           args: tuple = (),
                           kwargs: Optional[dict] = None) -> Any:
        for value in (*args, *(kwargs or {}).values()):
            for one in value if isinstance(value, (tuple, list)) else [value]:
                self.modules |= self._owners.get(id(one), set())
        return function(*args, **(kwargs or {}))


def _modules_used(root: nn.Module, taps: Taps, trial: Sequence[Any],
                  stop: bool, call: Optional[Callable]) -> set:
    read = _WeightsRead(root)
    handles = [module.register_forward_pre_hook(
        lambda module, inputs: read.modules.add(module))
        for module in root.modules()]
    try:
        with torch.no_grad(), read:
            taps.forward(root, *trial, stop=stop, call=call)
    finally:
        for handle in handles:
            handle.remove()
    return read.modules


def _is_output(path: str) -> bool:
    return path.startswith('out.') and path[4:].lstrip('-').isdigit()
