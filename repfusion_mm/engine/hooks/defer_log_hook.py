"""Losses stay on the GPU until they are logged."""
import torch
from mmengine.hooks import Hook, LoggerHook

from repfusion_mm.registry import HOOKS

from .bare_model import bare_model


@HOOKS.register_module()
class DeferLogHook(Hook):
    """Spares a GPU being waited for in every step for the log's sake.

    MMEngine reads each step's losses to the host, which waits until the GPU
    has computed them. With this hook they stay where they are until
    ``LoggerHook`` is about to log, or an epoch or the training ends, and then
    come all together: the log and the history of each loss are what they are
    without it. Hooks that read a step's losses from ``outputs`` find none,
    such as mmdet's ``CheckInvalidLossHook``; our models look for NaN
    themselves.

    Raises:
        TypeError: If the model does not keep its losses: RepFusion and
            JointRepFusion do.
        ValueError: If there is a ``CheckInvalidLossHook``.

    Example:
        >>> custom_hooks = [dict(type='repfusion_mm.DeferLogHook')]
    """
    priority = 'NORMAL'  # behind RuntimeInfoHook, before LoggerHook

    def before_train(self, runner) -> None:
        """Have the model keep its losses.

        Args:
            runner (Runner): The runner.
        """
        model = bare_model(runner)
        if not hasattr(model, 'unlogged'):
            raise TypeError('DeferLogHook belongs to a RepFusion or '
                            f'JointRepFusion, got {type(model).__name__}')
        if any(type(hook).__name__ == 'CheckInvalidLossHook'
               for hook in runner.hooks):
            raise ValueError('CheckInvalidLossHook reads the losses that '
                             'DeferLogHook keeps back; leave out one of the '
                             'two (the model looks for NaN itself)')
        self._loggers = [hook for hook in runner.hooks
                         if isinstance(hook, LoggerHook)]
        model.unlogged = []

    def after_train_iter(self, runner, batch_idx: int, data_batch=None,
                         outputs=None) -> None:
        """Hand the losses over where they are about to be logged.

        Args:
            runner (Runner): The runner.
            batch_idx (int): The batch of the epoch.
            data_batch (dict): Not used.
            outputs (dict): Not used.
        """
        if self.end_of_epoch(runner.train_dataloader, batch_idx) or \
                self.is_last_train_iter(runner) or \
                any(self.every_n_inner_iters(batch_idx, logger.interval)
                    for logger in self._loggers):
            self._hand_over(runner)

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        """Let the checkpoint hold the losses of all steps so far.

        Args:
            runner (Runner): The runner.
            checkpoint (dict): What is about to be written.
        """
        if bare_model(runner).unlogged:
            self._hand_over(runner)
            checkpoint['message_hub'] = runner.message_hub.state_dict()

    def after_train(self, runner) -> None:
        """Have the model return its losses again.

        Args:
            runner (Runner): The runner.
        """
        self._hand_over(runner)
        bare_model(runner).unlogged = None

    def _hand_over(self, runner) -> None:
        unlogged = bare_model(runner).unlogged
        if not unlogged:
            return
        values = iter(torch.cat([values for _, values in unlogged]).tolist())
        for names, _ in unlogged:
            for name in names:
                runner.message_hub.update_scalar(f'train/{name}',
                                                 next(values))
        unlogged.clear()
