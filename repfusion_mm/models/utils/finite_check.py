"""Whether the numbers of a step are finite, without waiting for a GPU."""
from collections import deque
from typing import Any, Dict, List, Sequence, Tuple

import torch
from torch import Tensor


class FiniteCheck:
    """Stops a training whose losses are not finite, and names the cause.

    On a CPU it does so at once, before the weights are changed. A GPU would
    have to be waited for in each step: there the answer is copied to the host
    beside the computation, and read in one of the next steps, when it has
    arrived. The weights have then been changed; :meth:`wait`, before a
    checkpoint is written, keeps them out of it.
    """

    def __init__(self) -> None:
        self._features: List[Tuple[str, Tensor]] = []
        self._on_the_way: deque = deque()

    def __deepcopy__(self, memo: dict) -> 'FiniteCheck':
        return type(self)()  # what is on the way is the original's

    def note(self, features: Sequence[Tuple[str, Tensor]]) -> None:
        """Look at the features of a step, which may be the cause.

        No more is kept of them than whether they are finite.

        Args:
            features (Sequence[tuple]): What to call each, and its values.
        """
        self._features = [(name, _is_finite(value))
                          for name, value in features]

    def check(self, losses: Dict[str, Any]) -> None:
        """Look at the losses of a step, all of them, at its end.

        Args:
            losses (dict[str, Tensor or list[Tensor]]): Of any shape, by name;
                those with ``loss`` in it are minimised, and looked at.

        Raises:
            FloatingPointError: If a loss of this step, or on a GPU of a step
                before, is not finite. Features that :meth:`note` found not
                finite are named as the cause, or else the losses.
        """
        features, self._features = self._features, []
        flags = [(name, _is_finite(value)) for name, values in losses.items()
                 if 'loss' in name
                 for value in (values if isinstance(values, (list, tuple))
                               else [values])]
        if not flags:
            return
        names = [name for name, _ in flags], [name for name, _ in features]
        device = flags[0][1].device
        finite = torch.stack([flag.to(device, non_blocking=True)
                              for _, flag in flags + features])
        if finite.device.type != 'cuda':
            _look(*names, finite, 'stopped before the weights are changed')
            return
        host = finite.to('cpu', non_blocking=True)  # into pinned memory
        arrived = torch.cuda.Event()
        arrived.record()
        self._on_the_way.append((names, host, arrived))
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
        (losses, features), host, _ = self._on_the_way.popleft()
        _look(losses, features, host, 'the weights have been changed since; '
              'go on from the last checkpoint')


def _is_finite(value: Tensor) -> Tensor:
    return value.detach().isfinite().all()


def _look(losses: list, features: list, finite: Tensor, state: str) -> None:
    flags = finite.tolist()
    if all(flags[:len(losses)]):
        return
    wrong = [name for name, ok in zip(features, flags[len(losses):])
             if not ok]
    wrong = wrong or [name for name, ok in zip(losses, flags) if not ok]
    raise FloatingPointError(
        f'NaN or infinity in {", ".join(dict.fromkeys(wrong))}; {state}. '
        'Lower the learning rate, or compute in float32')
