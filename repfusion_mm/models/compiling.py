"""torch.compile as a config switch, and what it is given."""
import inspect
import types
from typing import Any, Iterable, Optional

import torch
from torch import nn

from .nearest import nearest


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

    Args:
        root (nn.Module): The network; changed in place.
        taps (Iterable[str]): The taps; those that are its outputs hook
            nothing.
        options (dict): Arguments of ``torch.compile``.
    """
    modules = dict(root.named_modules())
    taps = [tap for tap in taps if tap in modules]

    def visit(name: str, module: nn.Module) -> None:
        prefix = f'{name}.' if name else ''
        inside = [tap for tap in taps if tap.startswith(prefix)
                  and tap != name]
        has_forward = type(module).forward is not nn.Module.forward
        if has_forward and not inside:
            # a method, which a deepcopy (EMA) binds to the copy
            module.forward = types.MethodType(
                torch.compile(_copied(type(module).forward), **options),
                module)
            return
        for child_name, child in module.named_children():
            visit(prefix + child_name, child)

    visit('', root)


def allow_second_backward() -> None:
    """Have what is compiled from now on keep its graph when asked to.

    A compiled backward pass otherwise writes over activations that it was
    given, and ``retain_graph`` is refused. In the whole process: torch has no
    such switch for one function; torch 2.1 needs none.
    """
    from torch._functorch import config
    if hasattr(config, 'donated_buffer'):
        config.donated_buffer = False


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
