"""From a folder of images to a better backbone: one command."""
from typing import Any

__all__ = ['PlanError', 'Result', 'distill']


def __getattr__(name: str) -> Any:
    # MMEngine is imported only when something is done: a GPU can only be
    # hidden from it before
    if name == 'PlanError':
        from .plan_error import PlanError
        return PlanError
    if name in __all__:
        from . import run
        return getattr(run, name)
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
