"""Which weights of a model arrive from a file, whoever loads them."""
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Set, Tuple

import torch
from torch import Tensor, nn


class Load(NamedTuple):
    """One state dict on its way into a module.

    Attributes:
        module (nn.Module): Where it was loaded.
        given (dict[str, tuple]): Shape of each tensor of the state dict; None
            for what is no tensor.
        reached (set[int]): ``id`` of each parameter and buffer that it
            reached.
        unexpected (list[str]): Keys that have no place in the module, as the
            loader says.
    """
    module: nn.Module
    given: Dict[str, Optional[Tuple[int, ...]]]
    reached: Set[int]
    unexpected: List[str]


class WeightArrivals:
    """Watches what is loaded into a model or into a part of it.

    No rule here knows how keys are matched, or converted, or which weights are
    resized: PyTorch counts in each tensor how often it was written to, and
    what a load wrote to has arrived.

    Args:
        model (nn.Module): The model, without what distributes it.
        on_load (Callable): Is told of each :class:`Load` at its end. An error
            that it raises is the loader's.

    Attributes:
        loads (list[Load]): All so far.
    """

    def __init__(self, model: nn.Module,
                 on_load: Callable[[Load], None]) -> None:
        self.loads: List[Load] = []
        self._on_load = on_load
        self._values: Dict[int, Tensor] = {}  # as they arrived
        self._now: Any = None
        self._handles: List[Any] = []
        module: Any
        for module in model.modules():
            # behind the module's own hooks, which convert what they are given
            self._handles += [
                module._register_load_state_dict_pre_hook(
                    self._begin, with_module=True),
                module.register_load_state_dict_post_hook(self._end)]

    def __deepcopy__(self, memo: dict) -> 'WeightArrivals':
        return self  # a copy of the model (EMA) is not what is watched

    def _begin(self, module: nn.Module, state_dict: dict, prefix: str,
               *args: Any) -> None:
        if prefix:
            return  # a part of what is being loaded
        given = {key: tuple(value.shape) if isinstance(value, Tensor) else None
                 for key, value in state_dict.items()}
        before = [(tensor, tensor._version) for tensor in _tensors(module)]
        self._now = module, given, before

    def _end(self, module: nn.Module, incompatible: Any) -> None:
        if self._now is None or self._now[0] is not module:
            return
        _, given, before = self._now
        self._now = None
        versions = {id(tensor): version for tensor, version in before}
        reached = set()
        for tensor in _tensors(module):
            if versions.get(id(tensor)) != tensor._version:
                reached.add(id(tensor))
                self._values[id(tensor)] = tensor.detach().clone()
        load = Load(module, given, reached, list(incompatible.unexpected_keys))
        self.loads.append(load)
        self._on_load(load)

    def arrived(self, tensor: Tensor) -> bool:
        """Whether any load has reached a parameter or buffer."""
        return id(tensor) in self._values

    def changed(self, tensor: Tensor) -> bool:
        """Whether one has another value than it arrived with."""
        value = self._values.get(id(tensor))
        if value is None:
            return False
        now = tensor.detach().to(value.device)
        same = (now == value) | ((now != now) & (value != value))  # NaN
        return not bool(torch.all(same))

    def close(self) -> None:
        """Watch no longer, and forget the values."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._values.clear()


def _tensors(module: nn.Module) -> List[Tensor]:
    return [*module.parameters(), *module.buffers()]
