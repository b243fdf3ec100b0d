"""Whether the numbers of a step are finite, without waiting for a GPU."""
from collections import deque
from typing import Any, Dict, List, Optional, Sequence, Tuple

import torch
from mmengine.dist import all_reduce, get_rank, get_world_size
from mmengine.logging import MessageHub
from torch import Tensor


class FiniteCheck:
    """Stops a training whose losses are not finite, and names the cause.

    On a CPU it does so at once, before the weights are changed. A GPU would
    have to be waited for in each step: there the answer is copied to the host
    beside the computation, and read in one of the next steps, when it has
    arrived. The weights have then been changed; :meth:`wait`, before a
    checkpoint is written, keeps them out of it.

    Of several processes all get the answers of all, by one collective call a
    step, and end in the same error. All have to look at the same losses.
    """

    def __init__(self) -> None:
        self._noted: List[Tuple[str, Tensor]] = []
        self._required: List[str] = []
        self._on_the_way: deque = deque()

    def __deepcopy__(self, memo: dict) -> 'FiniteCheck':
        return type(self)()  # what is on the way is the original's

    def note(self, values: Sequence[Tuple[str, Tensor]],
             required: bool = False) -> None:
        """Look at values of a step, which may be the cause.

        No more is kept of them than whether they are finite.

        Args:
            values (Sequence[tuple]): What to call each, and its values.
            required (bool): Whether they have to be finite even where no loss
                is made of them. Defaults to False.
        """
        self._noted += [(name, _is_finite(value)) for name, value in values]
        if required:
            self._required += [name for name, _ in values]

    def check(self, losses: Dict[str, Any]) -> None:
        """Look at the losses of a step, all of them, at its end.

        Args:
            losses (dict[str, Tensor or list[Tensor]]): Of any shape, by name;
                those with ``loss`` in it are minimised, and looked at.

        Raises:
            FloatingPointError: If a loss of this step, or on a GPU of a step
                before, is not finite, on whichever process. Values that
                :meth:`note` found not finite are named as the cause, or else
                the losses, and the step and the process.
        """
        noted, self._noted = self._noted, []
        required, self._required = self._required, []
        flags = [(name, _all_finite(values))
                 for name, values in losses.items() if 'loss' in name]
        flags += [(name, flag) for name, flag in noted if name in required]
        if not flags:
            return
        looked = _Looked(_step(), [name for name, _ in flags],
                         [name for name, _ in noted])
        device = flags[0][1].device
        wrong = _of_all(torch.stack([flag.to(device, non_blocking=True)
                                     for _, flag in flags + noted]))
        if wrong.device.type != 'cuda':
            looked.judge(wrong, 'stopped before the weights are changed')
            return
        host = wrong.to('cpu', non_blocking=True)  # into pinned memory
        arrived = torch.cuda.Event()
        arrived.record()
        self._on_the_way.append((looked, host, arrived))
        while self._on_the_way and self._on_the_way[0][-1].query():
            self._next()

    def wait(self) -> None:
        """Wait for all answers that are on the way.

        Raises:
            FloatingPointError: As :meth:`check`.
        """
        while self._on_the_way:
            self._on_the_way[0][-1].synchronize()
            self._next()

    def _next(self) -> None:
        looked, host, _ = self._on_the_way.popleft()
        looked.judge(host, 'the weights have been changed since; go on from '
                     'the last checkpoint')


class _Looked:
    """What was looked at in a step."""

    def __init__(self, step: Optional[int], losses: List[str],
                 noted: List[str]) -> None:
        self.step, self.losses, self.noted = step, losses, noted

    def judge(self, wrong: Tensor, state: str) -> None:
        """Stop at what is not finite; see :func:`_of_all`."""
        flags = wrong.tolist()
        count = len(self.losses)
        if not any(flags[:count]):
            return
        found = [one for one in zip(self.noted, flags[count:]) if one[1]] or \
            [one for one in zip(self.losses, flags) if one[1]]
        where = [] if self.step is None else [f'step {self.step}']
        if get_world_size() > 1:
            where.append(f'process {max(process for _, process in found) - 1}')
        names = ', '.join(dict.fromkeys(name for name, _ in found))
        raise FloatingPointError(
            f'{", ".join(where)}{": " if where else ""}NaN or infinity in '
            f'{names}; {state}. Lower the learning rate, or compute in '
            'float32')


def _step() -> Optional[int]:
    """The number of the Runner's step, from 1."""
    done = MessageHub.get_current_instance().get_info('iter')
    return None if done is None else done + 1


def _of_all(finite: Tensor) -> Tensor:
    """What is not finite on any process.

    Args:
        finite (Tensor): Bool, (F,), as it is on this process.

    Returns:
        Tensor: Long, (F,): the number of a process where it is not, from 1;
        0 where it is finite on all of them.
    """
    wrong = (~finite).long() * (get_rank() + 1)
    all_reduce(wrong, 'max')
    return wrong


def _all_finite(values: Any) -> Tensor:
    if isinstance(values, (list, tuple)):
        return torch.stack([_is_finite(value) for value in values]).all()
    return _is_finite(values)


def _is_finite(value: Tensor) -> Tensor:
    return value.detach().isfinite().all()
