"""A holder that keeps a frozen network out of the model around it."""
from torch import nn


class Frozen:
    """Holds a network where ``nn.Module`` does not look.

    What it holds is in no ``state_dict``, no optimiser and no EMA copy; a
    ``deepcopy`` of the model shares it; it is in eval mode and without
    gradients whatever ``train()`` says to the model around it.

    Args:
        module (nn.Module): The network.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = module.eval().requires_grad_(False)

    def __deepcopy__(self, memo: dict) -> 'Frozen':
        return self
