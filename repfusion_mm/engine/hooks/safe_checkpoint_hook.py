"""Checkpoints of which the last good one is never lost."""
import os
import os.path as osp
from typing import Any

from mmengine.dist import barrier, is_main_process
from mmengine.hooks import CheckpointHook
from mmengine.runner import BaseLoop, EpochBasedTrainLoop

from repfusion_mm.engine.launch import distributed_timeout
from repfusion_mm.engine.resuming.atomic_write import ATOMIC, write_atomically
from repfusion_mm.engine.resuming.stop_signal import StopSignal
from repfusion_mm.engine.resuming.whole_checkpoint import (
    INTERRUPTED,
    check_named,
    settle_last_checkpoint,
)
from repfusion_mm.registry import HOOKS

EXIT_CODE = 75  # EX_TEMPFAIL of sysexits.h: try again
# epochs or steps, in the message hub; what begins with `val` is logged
VALIDATED = 'last_validated'


@HOOKS.register_module()
class SafeCheckpointHook(CheckpointHook):
    """MMEngine's ``CheckpointHook``, for machines that fail.

    - A checkpoint, and ``last_checkpoint``, is there whole or not at all. What
      it replaces, by ``max_keep_ckpts`` or ``save_best``, is deleted when it
      is; so there is space on the disk for one more than is kept.
    - ``--resume`` looks whether the checkpoint is whole, by its checksums, and
      if not, takes the one before it and says so.
    - A SIGTERM or SIGUSR1 that nobody else handles lets the step end, writes
      ``interrupted.pth``, and ends all processes with the code 75. The next
      checkpoint deletes it.
    - A validation that the checkpoint does not know of, since the training
      was killed in it, is made up for when it is resumed.
    - Before the first step it writes a file into its folder, so that one that
      cannot be written to is an error then.

    The files are those of a file system; for another ``backend_args`` all but
    the signals is as MMEngine has it.

    Args:
        **kwargs: As of ``CheckpointHook``.

    Example:
        >>> default_hooks = dict(checkpoint=dict(
        ...     type='repfusion_mm.SafeCheckpointHook', interval=1,
        ...     max_keep_ckpts=1))
    """

    @classmethod
    def instead_of(cls, hook: CheckpointHook) -> 'SafeCheckpointHook':
        """One of the same settings.

        Args:
            hook (CheckpointHook): MMEngine's.

        Returns:
            SafeCheckpointHook: It.
        """
        safe = cls.__new__(cls)
        safe.__dict__.update(vars(hook))
        return safe

    @property
    def _local(self) -> bool:
        """Whether the checkpoints are files of a file system."""
        return self.file_client_args is None and (
            self.backend_args or dict(backend=ATOMIC)) == dict(
                backend=ATOMIC) and '://' not in str(self.out_dir or '')

    def before_run(self, runner) -> None:
        """Look whether the checkpoint to resume from is whole.

        Args:
            runner (Runner): About to train, or else nothing is done.

        Raises:
            ValueError: If there is one, and none is whole.
        """
        if not isinstance(runner._train_loop, BaseLoop) or \
                not runner._resume or not self._local:
            return
        folder = runner.work_dir
        if self.out_dir is not None and self.out_dir != folder:
            folder = osp.join(self.out_dir,
                              osp.basename(folder.rstrip(osp.sep)))
        pattern = self.filename_tmpl.format('*')
        if runner._load_from is not None:
            check_named(runner._load_from, folder, pattern)
            return
        settle_last_checkpoint(runner.work_dir, folder, pattern,
                               is_main_process())
        barrier()

    def before_train(self, runner) -> None:
        """Look whether the folder can be written to; listen for signals.

        Args:
            runner (Runner): About to train.

        Raises:
            OSError: If it cannot.
        """
        if self._local:
            self.backend_args = dict(backend=ATOMIC)
        super().before_train(runner)
        if self._local and is_main_process():
            trial = osp.join(self.out_dir, '.can_be_written')
            write_atomically(trial, b'')
            os.remove(trial)
        self._stop = StopSignal(distributed_timeout(runner.cfg))
        self._stop.listen()
        self._make_up_for_validation(runner)

    def after_train_iter(self, runner, batch_idx: int, data_batch=None,
                         outputs=None) -> None:
        """As ``CheckpointHook``, and end the training if it is to end.

        Args:
            runner (Runner): The runner.
            batch_idx (int): The batch of the epoch.
            data_batch (dict): Not used.
            outputs (dict): Not used.

        Raises:
            SystemExit: If a signal came.
        """
        super().after_train_iter(runner, batch_idx, data_batch, outputs)
        if not self._stop.agreed():
            return
        step = runner.iter + 1
        self._save(runner, INTERRUPTED,
                   dict(epoch=runner.epoch, iter=step), by_epoch=False)
        barrier()  # a launcher kills the others when one has ended
        runner.logger.warning(
            f'Stopped by {self._stop.name} after step {step}: all of it is in '
            f'{self.last_ckpt}, and --resume goes on from there. Exit code '
            f'{EXIT_CODE}')
        raise SystemExit(EXIT_CODE)

    def after_val_epoch(self, runner, metrics) -> None:
        """As ``CheckpointHook``, and note what has been validated.

        Args:
            runner (Runner): The runner.
            metrics (dict): What came out.
        """
        if hasattr(self, '_stop'):  # this is a training
            runner.message_hub.update_info(VALIDATED, _done(runner))
        super().after_val_epoch(runner, metrics)

    def after_train(self, runner) -> None:
        """As ``CheckpointHook``; listen no longer.

        Args:
            runner (Runner): The runner.
        """
        self._stop.close()
        super().after_train(runner)

    def _save_checkpoint_with_step(self, runner, step: int,
                                   meta: dict) -> None:
        """Write one of those that are kept, and then delete the oldest."""
        if not self._local:
            super()._save_checkpoint_with_step(runner, step, meta)
            return
        if self.max_keep_ckpts > 0 and (
                not self.keep_ckpt_ids or self.keep_ckpt_ids[-1] != step):
            if len(self.keep_ckpt_ids) == self.max_keep_ckpts:
                self._outdate(self.filename_tmpl.format(
                    self.keep_ckpt_ids.popleft()))
            self.keep_ckpt_ids.append(step)
            runner.message_hub.update_info('keep_ckpt_ids',
                                           list(self.keep_ckpt_ids))
        self._outdate(INTERRUPTED)
        self._save(runner, self.filename_tmpl.format(step), meta,
                   self.by_epoch)

    def _save_best_checkpoint(self, runner, metrics: dict) -> None:
        super()._save_best_checkpoint(runner, metrics)
        if self._local and is_main_process():
            self._remove_outdated()

    def _save(self, runner, name: str, meta: dict, by_epoch: bool) -> None:
        """Write a checkpoint, then its name, and then delete."""
        path = self.file_backend.join_path(self.out_dir, name)
        self.last_ckpt: Any = path
        runner.message_hub.update_info('last_ckpt', path)
        runner.save_checkpoint(
            self.out_dir, name, self.file_client_args,
            save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler, meta=meta,
            by_epoch=by_epoch, backend_args=self.backend_args, **self.args)
        if not is_main_process():
            return
        write_atomically(osp.join(runner.work_dir, 'last_checkpoint'),
                         path.encode())
        if self._local:
            self._remove_outdated()

    def _remove_outdated(self) -> None:
        best = getattr(self, 'best_ckpt_path_dict', {})
        self.file_backend.remove_outdated(
            self.last_ckpt, getattr(self, 'best_ckpt_path', None),
            *best.values())

    def _outdate(self, name: str) -> None:
        if is_main_process():
            self.file_backend.remove(
                self.file_backend.join_path(self.out_dir, name))

    def _make_up_for_validation(self, runner) -> None:
        """Validate if the checkpoint was written before its validation."""
        info, loop = runner.message_hub.runtime_info, runner.train_loop
        if not runner._resume or VALIDATED not in info:
            runner.message_hub.update_info(VALIDATED, _done(runner))
            return
        done = _done(runner)
        last = runner.max_epochs if isinstance(loop, EpochBasedTrainLoop) \
            else runner.max_iters
        if runner.val_loop is not None and info[VALIDATED] < done and \
                done >= loop.val_begin and (
                    done % loop.val_interval == 0 or done == last):
            runner.logger.info('The checkpoint was written before its '
                               'validation, which is made up for')
            runner.val_loop.run()


def _done(runner) -> int:
    """Epochs or iterations done, whichever the training counts."""
    return runner.epoch if isinstance(
        runner.train_loop, EpochBasedTrainLoop) else runner.iter
