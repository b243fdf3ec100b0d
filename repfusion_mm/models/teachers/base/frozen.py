"""A holder that keeps a frozen network out of the model around it."""
import copy
from typing import Callable

import torch
from torch import Tensor, nn


class Frozen:
    """Holds a network where ``nn.Module`` does not look.

    What it holds is in no ``state_dict``, no optimiser and no EMA copy; a
    ``deepcopy`` of the model shares it; it is in eval mode and without
    gradients whatever ``train()`` says to the model around it. Since others
    may share it, it is never moved: see :meth:`moved`.

    Args:
        module (nn.Module): The network.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = module.eval().requires_grad_(False)

    def __deepcopy__(self, memo: dict) -> 'Frozen':
        return self

    @torch.no_grad()
    def moved(self, fn: Callable[[Tensor], Tensor]) -> 'Frozen':
        """The network on another device or in another type.

        Args:
            fn (Callable): What ``nn.Module._apply`` is given: a tensor in, it
                itself or another one out.

        Returns:
            Frozen: This one if nothing changes, or else a new one.
        """
        tensors = [*self.module.parameters(), *self.module.buffers()]
        others = [fn(tensor) for tensor in tensors]
        if all(other is tensor for other, tensor in zip(others, tensors)):
            return self
        # a copy of all but the tensors, which are the new ones
        memo = {id(tensor): nn.Parameter(other, requires_grad=False)
                if isinstance(tensor, nn.Parameter) else other
                for tensor, other in zip(tensors, others)}
        return Frozen(copy.deepcopy(self.module, memo))
