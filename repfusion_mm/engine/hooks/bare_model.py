"""The model of a runner, without what distributes it."""
from typing import Any

from mmengine.model import is_model_wrapper


def bare_model(runner: Any) -> Any:
    """The model itself, where DDP or the like is wrapped around it.

    Args:
        runner (Runner): The runner.

    Returns:
        nn.Module: What the config calls ``model``.
    """
    return runner.model.module if is_model_wrapper(runner.model) \
        else runner.model
