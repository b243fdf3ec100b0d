"""Whether the numbers of a step are finite, without waiting for a GPU."""
from collections import deque
from typing import Dict, List, Tuple

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
        self._on_the_way: deque = deque()

    def __deepcopy__(self, memo: dict) -> 'FiniteCheck':
        return type(self)()  # what is on the way is the original's

    def check(self, features: List[Tuple[str, Tensor]],
              losses: Dict[str, Tensor]) -> None:
        """Look at the numbers of a step.

        Args:
            features (list[tuple]): What to call each, and its values; looked
                at to name the cause where a loss is not finite.
            losses (dict[str, Tensor]): Of any shape, by name.

        Raises:
            FloatingPointError: If a loss of this step, or on a GPU of a step
                before, is not finite.
        """
        numbers = [*losses.values(), *(value for _, value in features)]
        finite = torch.stack([value.detach().isfinite().all()
                              for value in numbers])
        names = list(losses), [name for name, _ in features]
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
        names, host, _ = self._on_the_way.popleft()
        _look(*names, host, 'the weights have been changed since; go on from '
              'the last checkpoint')


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
