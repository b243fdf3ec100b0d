"""Schedules and records of the time sampler."""
import json
import os.path as osp
from typing import Optional, Sequence

import torch
from mmengine.dist import is_main_process, master_only
from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop

from repfusion_mm.arguments.annotations import Count
from repfusion_mm.arguments.config_error import under
from repfusion_mm.engine.resuming.atomic_write import write_atomically
from repfusion_mm.models.distillers.part_checks import check_channels
from repfusion_mm.models.utils.compiling import check_accumulation
from repfusion_mm.models.utils.nearest import nearest
from repfusion_mm.registry import HOOKS

from .bare_model import bare_model
from .finite_weights import FiniteWeights
from .histogram_picture import histogram_picture
from .look_first import look_first
from .policy_watch import PolicyWatch
from .run_checks import check_batches, check_loop, check_mixing
from .schedule import Schedule

HISTOGRAM_BINS = 20


@HOOKS.register_module()
class TimeSamplerHook(Hook):
    """Schedules the time sampler and records which t are drawn.

    Every ``interval`` iterations it appends a line to
    ``<work_dir>/time_steps.jsonl``, with the iteration, a histogram of the
    time steps drawn since the last one (shares, over 20 equal ranges from 0
    to the teacher's last), their mean, and the scheduled values, and draws the
    histogram in the visualizer as ``time_steps``. Of several processes the
    first one's are recorded. Before training it checks the run: no batch is
    too small, nothing is validated that predicts nothing, and the reward and
    the teacher check the data set: a reward that needs labels refuses one
    that has none, a feature bank one that it is not of. Weights that are not
    finite are kept out of checkpoints. A reward without signal, exploding
    logits and an early collapse of the policy's entropy are warned of, see
    :class:`PolicyWatch`. A sampler that asks for a look at all
    time steps learns from it then, see :func:`look_first`. Every training of a
    :class:`RepFusion` should have this hook.

    Args:
        schedules (Sequence[dict], optional): Values of the time sampler, or
            the model's ``distill_weight``, that change linearly from where
            they start: ``attribute``, its ``end``, ``over`` which share (a
            float) or how many steps (an int) of the training, and whether
            ``by_epoch``; see :class:`Schedule`. Defaults to None: the entropy
            weight of a sampler that has one goes to zero over the first half,
            the published 100 of 200 epochs.
        interval (int): Iterations between two records. Defaults to 50.

    Raises:
        AttributeError: If neither has such a value.
        ValueError: If its end is out of range.

    Example:
        >>> # a range that shrinks from the sampler's max_t to [0, 50)
        >>> custom_hooks = [
        ...     dict(type='repfusion_mm.TimeSamplerHook',
        ...          schedules=[dict(attribute='max_t', end=50, over=1.0,
        ...                          by_epoch=True)])]
    """
    priority = 'NORMAL'

    def __init__(self,
                 schedules: Optional[Sequence[dict]] = None,
                 interval: Count = 50) -> None:
        self.schedules = None if schedules is None else [
            _schedule(index, schedule)
            for index, schedule in enumerate(schedules)]
        self.interval = interval
        self._first_step: list = []  # hooks that look at it
        self._watch = PolicyWatch()
        self._resumed: dict = {}

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        """Read what has been counted since the last record.

        Args:
            runner (Runner): Loads a checkpoint.
            checkpoint (dict): What it has read.
        """
        if runner._resume:
            self._resumed = checkpoint.get('time_steps', {})

    def before_train(self, runner) -> None:
        """Check the run and find where the schedules start.

        Args:
            runner (Runner): Its model has a ``time_sampler``.

        Raises:
            ValueError: If the run would stop later, or learn nothing.
        """
        model = bare_model(runner)
        if not hasattr(model, 'time_sampler'):
            raise TypeError('TimeSamplerHook belongs to a model with a '
                            f'`time_sampler`, got {type(model).__name__}')
        check_accumulation(model.compile_options, runner.optim_wrapper)
        if runner.val_loop is not None:
            check_loop(model, 'val')
        check_mixing(runner.train_dataloader.dataset)
        self._first_step = check_batches(runner, model)
        for part in (model.teacher, model.reward):
            if hasattr(part, 'check_dataset'):
                part.check_dataset(runner.train_dataloader.dataset)
        sampler = model.time_sampler
        if self.schedules is None:
            self.schedules = [
                Schedule('entropy_weight', end=0., over=0.5)
            ] if hasattr(sampler, 'entropy_weight') else []
        self._finite_weights = FiniteWeights(model)
        self._starts = [_start(runner, model, schedule)
                        for schedule in self.schedules]
        # on the model's device, to be read when they are recorded
        self._counts = torch.zeros(HISTOGRAM_BINS, dtype=torch.float64,
                                   device=next(model.parameters()).device)
        self._sum = torch.zeros_like(self._counts[0])
        if self._resumed and is_main_process():  # whose they are
            self._counts += self._resumed['counts'].to(self._counts)
            self._sum += self._resumed['sum'].to(self._sum)
        self._forget_later_records(runner)
        look_first(runner)

    def before_test(self, runner) -> None:
        """Refuse a model that predicts nothing.

        Args:
            runner (Runner): The runner.

        Raises:
            ValueError: If its model is of stage 1.
        """
        check_loop(bare_model(runner), 'test')

    def before_val(self, runner) -> None:
        """As :meth:`before_test`.

        Args:
            runner (Runner): The runner.
        """
        check_loop(bare_model(runner), 'val')

    def before_train_iter(self, runner, batch_idx: int,
                          data_batch=None) -> None:
        """Look at the labels, and set the scheduled values.

        Args:
            runner (Runner): The runner.
            batch_idx (int): Not used.
            data_batch (dict): As the dataloader gives it.
        """
        model = bare_model(runner)
        data_batch = data_batch or {}
        check_channels(data_batch.get('inputs'), model.in_channels,
                       preprocessed=False)
        model.check_samples(data_batch.get('data_samples') or [])
        for schedule, start in zip(self.schedules or (), self._starts):
            step, max_steps = (runner.epoch, runner.max_epochs) \
                if schedule.by_epoch else (runner.iter, runner.max_iters)
            setattr(_owner(model, schedule), schedule.attribute,
                    schedule.value(start, step, max_steps))

    def after_train_iter(self, runner, batch_idx: int, data_batch=None,
                         outputs=None) -> None:
        """Count the time steps drawn, and record them at the interval.

        Args:
            runner (Runner): The runner.
            batch_idx (int): Not used.
            data_batch (dict): Not used.
            outputs (dict): Not used.
        """
        while self._first_step:
            self._first_step.pop().remove()
        model = bare_model(runner)
        timesteps = model.timesteps.flatten()
        bins = timesteps * HISTOGRAM_BINS // model.teacher.num_timesteps
        self._counts.index_add_(
            0, bins, torch.ones_like(bins, dtype=self._counts.dtype))
        self._sum += timesteps.sum()
        self._watch.begin(model)
        if self.every_n_train_iters(runner, self.interval):
            self._record(runner, model)
            self._watch.look(runner, model)
            self._counts.zero_()
            self._sum.zero_()

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        """Keep weights that are not finite out of the checkpoint.

        What has been counted since the last record is written into it.

        Args:
            runner (Runner): The runner.
            checkpoint (dict): What is about to be written.

        Raises:
            FloatingPointError: If a loss was not finite, or a weight is not.
        """
        bare_model(runner).finite.wait()
        self._finite_weights.check(checkpoint)
        checkpoint['time_steps'] = dict(counts=self._counts.cpu(),
                                        sum=self._sum.cpu())

    def after_train(self, runner) -> None:
        """Hear of the last steps' losses, too.

        Args:
            runner (Runner): The runner.

        Raises:
            FloatingPointError: If one was not finite.
        """
        bare_model(runner).finite.wait()

    @master_only
    def _forget_later_records(self, runner) -> None:
        """What another run, or the steps before a resume, left behind."""
        path = osp.join(runner.work_dir, 'time_steps.jsonl')
        if not osp.exists(path):
            return
        with open(path) as file:
            lines = [line for line in file  # a killed run leaves half a line
                     if line.endswith('\n')
                     and json.loads(line)['iter'] <= runner.iter]
        write_atomically(path, ''.join(lines).encode())

    @master_only
    def _record(self, runner, model) -> None:
        counts = self._counts.tolist()
        drawn = sum(counts)
        shares = [count / drawn for count in counts]
        line = dict(
            iter=runner.iter + 1,
            mean_t=round(float(self._sum) / drawn, 1),
            **{schedule.attribute: getattr(_owner(model, schedule),
                                           schedule.attribute)
               for schedule in self.schedules or ()},
            histogram=[round(share, 4) for share in shares])
        with open(osp.join(runner.work_dir, 'time_steps.jsonl'), 'a') as file:
            file.write(json.dumps(line) + '\n')
        runner.visualizer.add_image(
            'time_steps',
            histogram_picture(shares, model.teacher.num_timesteps),
            step=runner.iter + 1)


def _schedule(index: int, cfg: dict) -> Schedule:
    with under(f'schedules[{index}]'):
        return Schedule(**cfg)


def _owner(model, schedule: Schedule):
    """What has the scheduled value: the model, or else its time sampler."""
    return model if schedule.attribute == 'distill_weight' else \
        model.time_sampler


def _start(runner, model, schedule: Schedule):
    """The value that a schedule starts from, checked."""
    owner = _owner(model, schedule)
    value = vars(owner).get(schedule.attribute)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        numbers = [name for name, one in vars(owner).items()
                   if isinstance(one, (int, float)) and name[0] != '_'
                   and not isinstance(one, bool)]
        raise AttributeError(
            f'`schedules` names {schedule.attribute!r}, which is no number of '
            f'{type(owner).__name__}; nearest: '
            f'{nearest(schedule.attribute, numbers)}')
    if schedule.by_epoch and not isinstance(runner.train_loop,
                                            EpochBasedTrainLoop):
        raise ValueError('`schedules.by_epoch` is True, but '
                         '`train_cfg.by_epoch` is False: this training '
                         'counts iterations')
    try:
        setattr(owner, schedule.attribute, schedule.end)  # will it do?
        most = model.time_sampler.max_timestep
    except (TypeError, ValueError) as error:
        wrong = 'expected a whole number' if isinstance(error, TypeError) \
            else f'but {error}'
        raise ValueError(f'`schedules` takes {schedule.attribute!r} to '
                         f'{schedule.end}, {wrong}') from error
    if most >= model.teacher.num_timesteps:
        raise ValueError(
            f'`schedules` takes {schedule.attribute!r} to {schedule.end}, but '
            f'the teacher knows 0 to {model.teacher.num_timesteps - 1}')
    if model.teacher.looks_once:
        model.teacher.check_ranges(getattr(model.time_sampler, 'ranges', ()))
    setattr(owner, schedule.attribute, value)
    return value
