"""One training of the command: resumed, watched, and stopped in order."""
import copy
import gc
import io
import logging
import os
import signal
import sys
import threading
import time
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any, Iterator

from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

from repfusion_mm.engine.launch import pin_for_gpus_only


class BarHook(Hook):
    """Shows how far a training is.

    Args:
        title (str): Of the bar.
    """
    priority = 'LOWEST'

    def __init__(self, title: str) -> None:
        self.title = title
        self.bar = Progress(
            TextColumn('{task.description}'), BarColumn(),
            MofNCompleteColumn(), TimeRemainingColumn(), transient=True)
        self._task: Any = None

    def before_train_iter(self, runner: Any, batch_idx: int,
                          data_batch: Any = None) -> None:
        """Begin, behind all that looks and measures first.

        Args:
            runner (Runner): The runner.
            batch_idx (int): Not used.
            data_batch (dict): Not used.
        """
        if self._task is None:
            self._task = self.bar.add_task(
                self.title, total=runner.max_iters, completed=runner.iter)
            self.bar.start()

    def after_train_iter(self, runner: Any, batch_idx: int,
                         data_batch: Any = None, outputs: Any = None) -> None:
        """Go on.

        Args:
            runner (Runner): The runner.
            batch_idx (int): Not used.
            data_batch (dict): Not used.
            outputs (dict): Not used.
        """
        self.bar.update(self._task, completed=runner.iter + 1)


def train(cfg: Config, work_dir: str, title: str) -> str:
    """Run a training to its end, from where it is.

    The log is in the work dir; warnings are shown, too.

    Args:
        cfg (Config): Of the training, by iterations.
        work_dir (str): Where its checkpoints are.
        title (str): What is shown beside the bar.

    Returns:
        str: The last checkpoint.

    Raises:
        SystemExit: If it was stopped by Ctrl-C or SIGTERM; what was done is
            kept.
    """
    cfg = copy.deepcopy(cfg)
    cfg.work_dir, cfg.launcher = work_dir, 'none'
    cfg.resume = any(Path(work_dir).glob('*.pth'))
    # its own: two trainings within a second would share a log
    cfg.experiment_name = f'{os.path.basename(work_dir)}_{time.time_ns()}'
    pin_for_gpus_only(cfg)
    bar = BarHook(title)
    with stopped_by_ctrl_c():
        with redirect_stdout(io.StringIO()):
            runner = Runner.from_cfg(cfg)
        _show_our_warnings(runner.logger)
        runner.register_hook(bar)
        try:
            runner.train()
        finally:
            bar.bar.stop()
    steps = runner.max_iters
    del runner
    gc.collect()  # a Runner holds itself, its workers and GPU memory
    return os.path.join(work_dir, f'iter_{steps}.pth')


@contextmanager
def stopped_by_ctrl_c() -> Iterator[None]:
    """Let Ctrl-C end a training as SIGTERM does: behind the step, kept.

    A second Ctrl-C ends it at once, and so does the first one before there is
    anything to be kept.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # Python gives signals to the main one alone
        return
    owner = os.getpid()

    def stop(number: int, frame: Any) -> None:
        if os.getpid() != owner:
            return  # a worker of the loader, which its parent ends
        if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            raise KeyboardInterrupt
        os.kill(owner, signal.SIGTERM)

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


class _Stderr:
    """Whatever it is now: while a bar is shown, lines go above it."""

    def write(self, text: str) -> None:
        sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()


def _show_our_warnings(logger: logging.Logger) -> None:
    """On the terminal, and all errors; the file has all."""
    ours = os.sep + 'repfusion_mm' + os.sep
    for handler in logger.handlers:
        if type(handler) is logging.StreamHandler:
            handler.setStream(_Stderr())
            handler.setLevel(logging.WARNING)
            handler.addFilter(lambda record: ours in record.pathname or
                              record.levelno > logging.WARNING)
