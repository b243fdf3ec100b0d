"""A signal that ends a training at the end of a step."""
import os
import signal
import threading
from datetime import timedelta
from typing import Any, Dict, Optional, Tuple

import torch
import torch.distributed as dist
from mmengine.dist import get_world_size

# what Slurm and Kubernetes send first, and `sbatch --signal=USR1@120`
SIGNALS = tuple(getattr(signal, name) for name in ('SIGTERM', 'SIGUSR1')
                if hasattr(signal, name))


class StopSignal:
    """Whether the training is to end, on which all processes agree.

    Each step's answers are exchanged beside the next step, over the CPU's
    network, so that nothing is waited for: several processes end one step
    later than one alone would. A signal that comes a second time does what it
    did before.

    Args:
        timeout (timedelta, optional): How long the other processes are waited
            for. Defaults to None: torch's.
    """

    def __init__(self, timeout: Optional[timedelta] = None) -> None:
        self._asked: Optional[int] = None
        self._before: Dict[int, Any] = {}
        self._on_the_way: Optional[Tuple[Any, torch.Tensor]] = None
        self._group = dist.new_group(backend='gloo', timeout=timeout) \
            if get_world_size() > 1 else None

    @property
    def name(self) -> str:
        """The signal's, or that of another process'."""
        return 'a signal to another process' if self._asked is None else \
            signal.Signals(self._asked).name

    def listen(self) -> None:
        """Take the signals that nobody else handles."""
        if threading.current_thread() is not threading.main_thread():
            return  # Python gives signals to the main one alone
        for number in SIGNALS:
            handler = signal.getsignal(number)
            owner = getattr(handler, '__self__', None)
            if handler is signal.SIG_DFL or isinstance(owner, StopSignal):
                self._before[number] = signal.SIG_DFL
                signal.signal(number, self._take)

    def agreed(self) -> bool:
        """Whether to end here. All processes ask at the end of each step.

        Returns:
            bool: The same in all of them.

        Raises:
            RuntimeError: If another process is gone, or does not answer.
        """
        if self._group is None:
            return self._asked is not None
        if self._answer():
            return True
        flag = torch.tensor(int(self._asked is not None))
        work = dist.all_reduce(flag, dist.ReduceOp.MAX, self._group,
                               async_op=True)
        self._on_the_way = work, flag
        return False

    def close(self) -> None:
        """Give the signals back, at the end of the training."""
        self._answer()
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    def _answer(self) -> bool:
        """What the processes said at the end of the step before."""
        if self._on_the_way is None:
            return False
        (work, flag), self._on_the_way = self._on_the_way, None
        try:
            work.wait()
        except RuntimeError as error:
            raise RuntimeError(
                'another process of this training is gone, or did not answer '
                f'in time ({error}); --resume goes on from the last '
                'checkpoint') from error
        return bool(flag)

    def _take(self, number: int, frame: Any) -> None:
        self._asked = number
        for one, handler in self._before.items():
            signal.signal(one, handler)


def heed_parent_alone() -> None:
    """Let only its parent's signals end a worker of a loader.

    Slurm sends its signals to all processes, and a parent whose worker is
    gone stops with an error. Where Python cannot tell who has sent a signal,
    nothing is done.
    """
    if not hasattr(signal, 'sigwaitinfo'):
        return
    parent = os.getppid()
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)

    def wait() -> None:
        while signal.sigwaitinfo(SIGNALS).si_pid != parent:
            pass
        os._exit(0)

    threading.Thread(target=wait, daemon=True).start()
