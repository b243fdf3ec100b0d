"""Gradients that wait for the batches of the same update."""
from typing import Any, Dict

from mmengine.dist import get_world_size
from torch import Tensor, nn


def pending_gradients(runner: Any, model: nn.Module) -> Dict[str, Tensor]:
    """What ``optim_wrapper.accumulative_counts`` has gathered so far.

    Args:
        runner (Runner): About to save a checkpoint.
        model (nn.Module): Its model, bare.

    Returns:
        dict[str, Tensor]: On the CPU, by the parameter's name; empty right
        after an update, and of several processes, whose gradients are not yet
        one.
    """
    wrapper = runner.optim_wrapper
    if hasattr(wrapper, 'optim_wrappers') or wrapper.should_update():
        return {}
    if get_world_size() > 1:
        runner.logger.warning(
            'This checkpoint lies between the batches of one update '
            '(`optim_wrapper.accumulative_counts`): without the gradients of '
            'the other processes it cannot be resumed from exactly; let '
            '`default_hooks.checkpoint.interval` be a multiple')
        return {}
    return {name: parameter.grad.detach().cpu()
            for name, parameter in model.named_parameters()
            if parameter.grad is not None}


def restore_gradients(model: nn.Module,
                      gradients: Dict[str, Tensor]) -> None:
    """Give the parameters the gradients that they had.

    Args:
        model (nn.Module): The bare model.
        gradients (dict[str, Tensor]): Of :func:`pending_gradients`.
    """
    for name, parameter in model.named_parameters():
        if name in gradients:
            parameter.grad = gradients[name].to(parameter.device)
