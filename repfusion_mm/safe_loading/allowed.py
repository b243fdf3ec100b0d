"""What a pickle of weights may name. All else is refused."""
import argparse
import collections
from typing import Any, Dict, Tuple

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from mmengine.optim.scheduler.param_scheduler import OneCycleParamScheduler

# what makes a tensor again of its storage: as of `torch.save`. The sparse and
# the quantised ones are left out, and so is `torch.storage._load_from_bytes`,
# which unpickles whatever it is given
_TENSORS = ('_rebuild_tensor', '_rebuild_tensor_v2', '_rebuild_tensor_v3',
            '_rebuild_parameter', '_rebuild_parameter_with_state')
_NUMPY: Any = [value.__reduce__()[0]
               for value in (np.zeros(1), np.float64(0))]
_PLAIN = (bool, bytearray, bytes, complex, dict, float, frozenset, int, list,
          set, slice, str, tuple)


def _encode(text: str, encoding: str) -> bytes:
    """How bytes are pickled by the protocol that ``torch.save`` takes."""
    if encoding != 'latin1':
        raise ValueError(f'the file has bytes in {encoding!r}, and not in '
                         "'latin1', as pickle writes them")
    return text.encode('latin1')


_ONE_CYCLE = object()  # its class is never made, only its functions are read
_ANNEALING = {name: getattr(OneCycleParamScheduler, name)
              for name in ('_annealing_cos', '_annealing_linear')}


def _attribute(owner: Any, name: str) -> Any:
    """What MMEngine's own checkpoints name by ``getattr``.

    HistoryBuffer's statistics, and how OneCycleLR anneals.
    """
    if owner is _ONE_CYCLE and name in _ANNEALING:
        return _ANNEALING[name]
    if owner is not HistoryBuffer or name.startswith('_') or \
            name not in vars(HistoryBuffer):
        raise ValueError(f'the file asks for the attribute {name!r}')
    return vars(HistoryBuffer)[name]


def _by_name(*objects: Any) -> Dict[Tuple[str, str], Any]:
    return {(one.__module__, one.__qualname__): one for one in objects}


ALLOWED: Dict[Tuple[str, str], Any] = {
    # the tensors
    **{('torch._utils', name): getattr(torch._utils, name)
       for name in _TENSORS if hasattr(torch._utils, name)},
    **{('torch', str(dtype).split('.')[1]): dtype
       for dtype in vars(torch).values() if isinstance(dtype, torch.dtype)},
    ('torch._tensor', '_rebuild_from_type_v2'):
        torch._tensor._rebuild_from_type_v2,
    ('torch', 'Tensor'): torch.Tensor,
    ('torch', 'Size'): torch.Size,
    ('torch', 'device'): torch.device,
    ('torch.nn.parameter', 'Parameter'): torch.nn.Parameter,
    ('torch.storage', 'UntypedStorage'): torch.UntypedStorage,
    # plain values; Python 2's name of the module is what protocol 2 writes
    **_by_name(*_PLAIN),
    **{('__builtin__', one.__name__): one for one in _PLAIN},
    **_by_name(collections.OrderedDict, collections.defaultdict,
               collections.Counter),
    ('_codecs', 'encode'): _encode,
    # NumPy's arrays and scalars, whichever of its versions wrote them
    ('numpy', 'ndarray'): np.ndarray,
    ('numpy', 'dtype'): np.dtype,
    **{(f'numpy.{core}.multiarray', one.__name__): one
       for core in ('core', '_core')
       for one in _NUMPY},
    # MMEngine's log
    **_by_name(HistoryBuffer),
    ('__builtin__', 'getattr'): _attribute,
    ('builtins', 'getattr'): _attribute,
    # and its OneCycleLR
    (OneCycleParamScheduler.__module__, 'OneCycleParamScheduler'): _ONE_CYCLE,
    **{(OneCycleParamScheduler.__module__,
        f'OneCycleParamScheduler.{name}'): function
       for name, function in _ANNEALING.items()},
    # the `args` in the public checkpoints of DeiT, DINO and MAE
    **_by_name(argparse.Namespace),
}


def allow(*classes: type) -> None:
    """Let files of weights hold objects of some classes, in this process.

    For what a hook of your own saves in a checkpoint. Unpickling may call
    these classes with any arguments, and set any attributes of what comes
    out: allow none whose construction has an effect on anything else.

    Args:
        *classes (type): The classes, as the module has them that they are
            defined in.

    Raises:
        TypeError: If one is no class.
    """
    for one in classes:
        if not isinstance(one, type):
            raise TypeError(f'`allow` takes classes, got {one!r}')
    ALLOWED.update(_by_name(*classes))
