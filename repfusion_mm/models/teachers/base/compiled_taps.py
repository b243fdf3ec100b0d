"""The forward pass up to the deepest tap, compiled as one graph."""
from typing import Any, Callable, Dict, Tuple

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten


class CompiledTaps:
    """Compiles a function of tensors that runs a frozen network.

    The pass up to the deepest tap consists of hooks and an exception, which
    ``torch.compile`` cannot follow. So the operators that it calls are
    recorded first, in one real pass, and that record is compiled: one graph
    without a break, whatever the network is made of. There is a record for
    each shape and type of the inputs, made when they first come up.

    A deepcopy shares the records, as it shares the network that they hold.

    Args:
        options (dict): Arguments of ``torch.compile``.
    """

    def __init__(self, options: dict) -> None:
        self.options: Dict[str, Any] = dict(fullgraph=True, dynamic=False)
        self.options.update(options)
        self._records: Dict[tuple, Tuple[list, Callable]] = {}

    def __deepcopy__(self, memo: dict) -> 'CompiledTaps':
        return self

    def __call__(self, run: Callable[..., Dict[str, Tensor]],
                 *args: Any, **kwargs: Any) -> Dict[str, Tensor]:
        """Run the function, compiled.

        Args:
            run (Callable): Features by tap, of the arguments.
            *args (Any): Tensors, also inside of dicts, and what else it
                takes.
            **kwargs (Any): Likewise.

        Returns:
            dict[str, Tensor]: The features, in memory of their own.
        """
        given, layout = tree_flatten((args, kwargs))
        places = [i for i, arg in enumerate(given) if isinstance(arg, Tensor)]
        tensors = [given[i] for i in places]
        rest = tuple(arg for arg in given if not isinstance(arg, Tensor))
        key = (*(_look(tensor) for tensor in tensors), tuple(places), rest,
               repr(layout), _autocast(tensors[0].device.type))
        if key not in self._records:
            self._records[key] = self._record(run, given, layout, places)
        taps, compiled = self._records[key]
        with torch.autocast(tensors[0].device.type, enabled=False):
            features = compiled(*tensors)
        # a CUDA graph writes to the same memory in the next step
        return {tap: feature.clone()
                for tap, feature in zip(taps, features)}

    def _record(self, run: Callable, args: list, layout: Any,
                places: list) -> Tuple[list, Callable]:
        from torch.fx.experimental.proxy_tensor import make_fx
        taps: list = []

        def flat(*tensors: Tensor) -> list:
            given = list(args)
            for place, tensor in zip(places, tensors):
                given[place] = tensor
            positional, named = tree_unflatten(given, layout)
            features = run(*positional, **named)
            taps[:] = features
            return list(features.values())

        graph = make_fx(flat)(*(args[place] for place in places))
        return taps, torch.compile(graph, **self.options)


def _look(tensor: Tensor) -> tuple:
    return tensor.shape, tensor.stride(), tensor.dtype, tensor.device


def _autocast(device: str) -> Any:
    if device == 'cpu':
        return torch.is_autocast_cpu_enabled() and \
            torch.get_autocast_cpu_dtype()
    return torch.is_autocast_enabled() and torch.get_autocast_gpu_dtype()

