"""A training that is resumed ends as if nothing had happened."""
from typing import Any, Optional

from mmengine.dist import broadcast_object_list, get_world_size
from mmengine.hooks import CheckpointHook, Hook
from mmengine.runner import BaseLoop, EpochBasedTrainLoop

from repfusion_mm.engine.resuming.pending_gradients import (
    pending_gradients,
    restore_gradients,
)
from repfusion_mm.engine.resuming.placed_batches import EndlessBatches
from repfusion_mm.engine.resuming.placed_loader import (
    can_be_placed,
    placed_loader,
)
from repfusion_mm.engine.resuming.seeding import seed_all
from repfusion_mm.registry import HOOKS

from .bare_model import bare_model
from .safe_checkpoint_hook import SafeCheckpointHook


@HOOKS.register_module()
class ExactResumeHook(Hook):
    """Makes a resumed training the one that was interrupted, bit for bit.

    MMEngine's checkpoints hold the weights, the optimizer, the schedules, the
    averaged weights and the log. They hold no random state, and a resumed
    training begins its epoch again. With this hook

    - the random numbers of a step depend on the process' seed and on the
      number of the step, and those of an image on the seed and on its place in
      the order of the training: not on who loads it, nor on what was drawn
      before;
    - the order goes on where it was, within an epoch, too, and nothing is
      loaded to get there;
    - gradients that are being accumulated are in the checkpoint;
    - MMEngine's ``CheckpointHook`` gives way to a :class:`SafeCheckpointHook`
      of the same settings.

    What a shuffle is stays what it was, and so do the speed and the config of
    the loader. Another number of processes goes on in the same order, too: see
    ``docs/reliability.md``, also for what is not promised.

    Example:
        >>> custom_hooks = [dict(type='repfusion_mm.ExactResumeHook')]
    """
    priority = 'VERY_HIGH'

    def __init__(self) -> None:
        self._resumed: Optional[dict] = None
        self._placed: Any = None  # PlacedBatches

    def before_run(self, runner) -> None:
        """Have the checkpoints written safely.

        Args:
            runner (Runner): About to train, or else nothing is done.
        """
        self._resumed = None
        if not isinstance(runner._train_loop, BaseLoop):  # built by train()
            return
        for number, hook in enumerate(runner.hooks):
            if type(hook) is CheckpointHook:
                runner.hooks[number] = SafeCheckpointHook.instead_of(hook)

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        """Read where the training was.

        Args:
            runner (Runner): Loads a checkpoint.
            checkpoint (dict): What it has read.
        """
        if not runner._resume:
            return
        self._resumed = checkpoint.get('exact_resume', {})
        if not self._resumed:
            runner.logger.warning(
                'The checkpoint was written without ExactResumeHook: the '
                'order of the images begins anew where it does not follow '
                'from the number of the step')

    def before_train(self, runner) -> None:
        """Put the loader where the training is.

        Args:
            runner (Runner): About to train.
        """
        resumed = self._resumed or {}
        self._placed, self._batches = None, 0
        loop = runner.train_loop
        cfg = runner.cfg.get('train_dataloader')
        if not can_be_placed(cfg, loop.dataloader):
            runner.logger.warning(
                '`train_dataloader` is no config with a `sampler` over a data '
                'set that has a length: if this training is interrupted, it '
                'cannot go on with the same images')
            return
        self._seed = resumed.get('seed', _order_seed(runner))
        loop.dataloader = placed_loader(cfg, loop.dataloader, self._seed)
        self._placed = loop.dataloader.batch_sampler
        by_epoch = isinstance(loop, EpochBasedTrainLoop)
        self._per_batch = self._placed.batch_size * get_world_size()
        if 'images' in resumed:
            self._batches = resumed['images'] // self._per_batch
        elif not by_epoch:
            self._batches = runner.iter
        if by_epoch:
            self._placed.skip = self._batches
            self._number_on(loop, self._batches)
        else:
            passes, self._placed.skip = divmod(self._batches,
                                               len(loop.dataloader)) \
                if hasattr(self._placed.sampler, 'epoch') else \
                (0, self._batches)
            self._placed.pass_number = passes
            # newer ones of MMEngine do not draw batches in vain
            in_vain = 0 if hasattr(loop.dataloader_iterator, 'skip_iter') \
                else runner.iter
            loop.dataloader_iterator = EndlessBatches(loop.dataloader,
                                                      in_vain)
        restore_gradients(bare_model(runner), resumed.get('gradients', {}))

    def before_train_epoch(self, runner) -> None:
        """Number the passes of a training that counts epochs.

        Args:
            runner (Runner): The runner.
        """
        if self._placed is not None and isinstance(runner.train_loop,
                                                   EpochBasedTrainLoop):
            self._placed.pass_number = runner.epoch

    def before_train_iter(self, runner, batch_idx: int,
                          data_batch=None) -> None:
        """Seed the step.

        Args:
            runner (Runner): The runner.
            batch_idx (int): Not used.
            data_batch (dict): Not used.
        """
        seed_all(runner.seed, runner.iter)

    def after_train_iter(self, runner, batch_idx: int, data_batch=None,
                         outputs=None) -> None:
        """Count the batches.

        Args:
            runner (Runner): The runner.
            batch_idx (int): Not used.
            data_batch (dict): Not used.
            outputs (dict): Not used.
        """
        self._batches += 1

    def after_train_epoch(self, runner) -> None:
        """Begin to count the next epoch's.

        Args:
            runner (Runner): The runner.
        """
        if isinstance(runner.train_loop, EpochBasedTrainLoop):
            self._batches = 0

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        """Write down where the training is.

        Args:
            runner (Runner): The runner.
            checkpoint (dict): What is about to be written.
        """
        if self._placed is None:
            return
        checkpoint['exact_resume'] = dict(
            seed=self._seed,
            images=self._batches * self._per_batch,  # of all processes
            gradients=pending_gradients(runner, bare_model(runner)))

    def _number_on(self, loop: EpochBasedTrainLoop, done: int) -> None:
        """Let the first epoch's batches have the numbers that they had."""
        if not done:
            return
        run_iter, epoch = loop.run_iter, loop.epoch
        loop.run_iter = lambda idx, batch: run_iter(
            idx + done * (loop.epoch == epoch), batch)


def _order_seed(runner) -> int:
    """The seed that MMEngine has given to the sampler, in all processes."""
    seed = getattr(runner.train_dataloader.sampler, 'seed', None)
    if seed is None:  # of a batch sampler's sampler
        seed = getattr(runner.train_dataloader.batch_sampler.sampler, 'seed',
                       runner.seed)
    seeds = [seed]
    broadcast_object_list(seeds)
    return seeds[0]
