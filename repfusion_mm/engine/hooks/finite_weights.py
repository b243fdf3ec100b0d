"""Weights that are not finite are kept out of what is written."""
from typing import Dict, List, Set

import torch
from torch import Tensor, nn


class FiniteWeights:
    """Refuses to write a model's state that its training has spoilt.

    A loss that is not finite stops the process that has it. Another process
    may have it, whose gradients reach all of them, and a gradient may be NaN
    where the loss is not; so the state itself is looked at, each time that it
    is about to be written. Every entry that was finite before the training has
    to be; what was not, such as a mask of minus infinities among the buffers,
    and what has come since, may be as they like.

    Args:
        model (nn.Module): As it is before its training.
    """

    def __init__(self, model: nn.Module) -> None:
        state = model.state_dict()
        self._finite: Set[str] = set(state) - set(not_finite(state))

    def check(self, checkpoint: dict) -> None:
        """Look at the states of a checkpoint, the averaged one's included.

        Args:
            checkpoint (dict): As MMEngine's ``before_save_checkpoint`` has
                it: ``state_dict``, and ``ema_state_dict`` if ``EMAHook`` has
                been there.

        Raises:
            FloatingPointError: If one is not finite. The entries are named.
        """
        for key in ('state_dict', 'ema_state_dict'):
            self.check_state(checkpoint.get(key) or {})

    def check_state(self, state: Dict[str, Tensor]) -> None:
        """Look at one state, by a single read for each device.

        Args:
            state (dict[str, Tensor]): Of the model, or of a wrapper of it.

        Raises:
            FloatingPointError: If it is not finite. The entries are named.
        """
        wrong = [name for name in not_finite(state)
                 if name[len('module.') * name.startswith('module.'):]
                 in self._finite]
        if wrong:
            more = f' and {len(wrong) - 5} more' if len(wrong) > 5 else ''
            raise FloatingPointError(
                f'NaN or infinity in the weights: {", ".join(wrong[:5])}'
                f'{more}, of {len(state)} entries; nothing is written. Go on '
                'from the last checkpoint with a lower learning rate, or '
                'compute in float32')


def not_finite(state: Dict[str, Tensor]) -> List[str]:
    """Names of the entries of a state that are not finite.

    Args:
        state (dict[str, Tensor]): As of ``state_dict``.

    Returns:
        list[str]: The names, in the state's order.
    """
    devices: Dict[torch.device, List[str]] = {}
    for name, value in state.items():
        if isinstance(value, Tensor) and value.is_floating_point():
            devices.setdefault(value.device, []).append(name)
    wrong: Set[str] = set()
    for names in devices.values():
        finite = torch.stack([state[name].isfinite().all() for name in names])
        wrong.update(name for name, ok in zip(names, finite.tolist())
                     if not ok)
    return [name for name in state if name in wrong]
