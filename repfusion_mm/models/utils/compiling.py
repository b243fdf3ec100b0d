"""torch.compile as a config switch, and what it is given."""
import inspect
import types
from typing import Any, Callable, Iterable, Optional

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from .nearest import nearest

GRAPH_MODES = ('reduce-overhead', 'max-autotune')


def compile_options(value: Any, key: str) -> Optional[dict]:
    """Arguments of ``torch.compile`` from a config switch.

    Args:
        value (bool or dict): False, True, or ``torch.compile``'s arguments.
        key (str): The config key, for error messages.

    Returns:
        dict, optional: None where nothing is to be compiled.

    Raises:
        ValueError: If it is neither, or names an argument that
            ``torch.compile`` does not have.
    """
    if isinstance(value, bool):
        return {} if value else None
    if not isinstance(value, dict):
        raise ValueError(
            f'`{key}` is {value!r}, expected True, False, or a dict of '
            'torch.compile\'s arguments such as '
            'dict(mode=\'reduce-overhead\')')
    known = [name for name in inspect.signature(torch.compile).parameters
             if name != 'model']
    for name in value:
        if name not in known:
            raise ValueError(f'`{key}` has no {name!r}; nearest: '
                             f'{nearest(name, known)}')
    return dict(value)


def compile_between_taps(root: nn.Module, taps: Iterable[str],
                         options: dict) -> None:
    """Compile a network in the largest pieces that no tap lies inside of.

    Taps are hooks that come and go with each forward pass, which would break
    a graph or compile it anew; so they stay outside. Names in the state dict
    and copies of the network are what they were.

    A piece is compiled for each shape that it meets. Left to itself, torch
    would make it one for all shapes, and slower, at an epoch's first smaller
    last batch.

    Args:
        root (nn.Module): The network; changed in place.
        taps (Iterable[str]): The taps; those that are its outputs hook
            nothing.
        options (dict): Arguments of ``torch.compile``, whose ``dynamic`` is
            False here by default.
    """
    options = dict(dict(dynamic=False), **options)
    modules = dict(root.named_modules())
    taps = [tap for tap in taps if tap in modules]

    def visit(name: str, module: nn.Module) -> None:
        prefix = f'{name}.' if name else ''
        inside = [tap for tap in taps if tap.startswith(prefix)
                  and tap != name]
        has_forward = type(module).forward is not nn.Module.forward
        if has_forward and not inside:
            forward = torch.compile(_copied(type(module).forward), **options)
            if has_cuda_graphs(options):
                forward = _out_of_the_graph(forward)
            # a method, which a deepcopy (EMA) binds to the copy
            module.forward = types.MethodType(forward, module)
            return
        for child_name, child in module.named_children():
            visit(prefix + child_name, child)

    visit('', root)


def has_cuda_graphs(options: Optional[dict]) -> bool:
    """Whether what is compiled runs as CUDA graphs, on a GPU.

    Args:
        options (dict, optional): As from :func:`compile_options`.

    Returns:
        bool: Whether ``torch.compile``'s arguments ask for them.
    """
    options = options or {}
    return options.get('mode') in GRAPH_MODES or \
        options.get('backend') == 'cudagraphs' or \
        bool((options.get('options') or {}).get('triton.cudagraphs'))


def begin_step(*_: Any) -> None:
    """Let CUDA graphs use the memory of what the last step computed again.

    A hook before a model's forward pass. Untold, torch takes each call of a
    compiled piece for a new step, unless a backward pass is still to come:
    in evaluation, and in frozen stages, a piece would take back the memory
    that its own input lies in.
    """
    if hasattr(torch.compiler, 'cudagraph_mark_step_begin'):
        torch.compiler.cudagraph_mark_step_begin()
    else:  # torch 2.1
        torch._inductor.cudagraph_mark_step_begin()


def check_accumulation(options: Optional[dict], optim_wrapper: Any) -> None:
    """Refuse to add up the gradients of several steps of CUDA graphs.

    They lie in the graphs' memory, which the next step writes to.

    Args:
        options (dict, optional): What the student is compiled with.
        optim_wrapper (OptimWrapper or OptimWrapperDict): The Runner's.

    Raises:
        ValueError: If both are asked for.
    """
    wrappers = getattr(optim_wrapper, 'optim_wrappers', {'': optim_wrapper})
    counts = max(getattr(one, '_accumulative_counts', 1)
                 for one in wrappers.values())
    if counts > 1 and has_cuda_graphs(options):
        raise ValueError(
            f'`optim_wrapper.accumulative_counts` is {counts}, but '
            f'`model.compile` is {options}: CUDA graphs write each step\'s '
            'gradients over those of the step before. Use '
            '`model.compile=True`, or a larger `train_dataloader.batch_size` '
            'instead')


def allow_second_backward() -> None:
    """Have what is compiled from now on keep its graph when asked to.

    A compiled backward pass otherwise writes over activations that it was
    given, and ``retain_graph`` is refused. In the whole process: torch has no
    such switch for one function; torch 2.1 needs none.
    """
    from torch._functorch import config
    if hasattr(config, 'donated_buffer'):
        config.donated_buffer = False


def _out_of_the_graph(forward: Callable) -> Callable:
    """Outputs without gradient in memory of their own.

    Those of a CUDA graph lie where its next run will write to. Behind those
    with gradient a backward pass is to come, and until then they are safe.
    """

    def copied(*args: Any, **kwargs: Any) -> Any:
        return tree_map(
            lambda x: x.clone() if isinstance(x, Tensor)
            and not x.requires_grad else x, forward(*args, **kwargs))

    return copied


def _copied(function: Any) -> Any:
    """The same function with a code of its own.

    What is compiled is kept with the code, and only so many versions of it:
    the pieces that share a class would push each other out.
    """
    copy = types.FunctionType(
        function.__code__.replace(), function.__globals__, function.__name__,
        function.__defaults__, function.__closure__)
    copy.__kwdefaults__ = function.__kwdefaults__
    return copy
