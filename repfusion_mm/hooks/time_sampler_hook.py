"""Schedules and records of the time sampler."""
import json
import os.path as osp
from typing import List

import torch
from mmengine.dist import master_only
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper

from repfusion_mm.registry import HOOKS

HISTOGRAM_BINS = 20


@HOOKS.register_module()
class TimeSamplerHook(Hook):
    """Takes the entropy weight to zero and records which t are drawn.

    Every ``interval`` iterations it appends a line to
    ``<work_dir>/time_steps.jsonl``, with the iteration, a histogram of the
    time steps drawn since the last one (shares, over 20 equal ranges from 0
    to the teacher's last), their mean, and the entropy weight, and draws the
    histogram in the visualizer as ``time_steps``. Of several processes the
    first one's are recorded. Before training it has the reward check the data
    set: a reward that needs labels refuses one that has none. Every training
    of a :class:`RepFusion` should have this hook.

    Args:
        entropy_decay (float): Share of the training over which the entropy
            weight of :class:`ReinforcedTime` goes linearly to zero. Defaults
            to 0.5, the published 100 of 200 epochs.
        interval (int): Iterations between two records. Defaults to 50.

    Example:
        >>> custom_hooks = [
        ...     dict(type='repfusion_mm.TimeSamplerHook', entropy_decay=0.5)]
    """
    priority = 'NORMAL'

    def __init__(self, entropy_decay: float = 0.5, interval: int = 50) -> None:
        if not 0 < entropy_decay <= 1:
            raise ValueError('`entropy_decay` is a share of the training, '
                             f'above 0 and up to 1, got {entropy_decay}')
        self.entropy_decay = entropy_decay
        self.interval = interval

    def before_train(self, runner) -> None:
        """Check the labels and find the schedule's start.

        Args:
            runner (Runner): Its model has a ``time_sampler``.
        """
        model = _model(runner)
        if not hasattr(model, 'time_sampler'):
            raise TypeError('TimeSamplerHook belongs to a model with a '
                            f'`time_sampler`, got {type(model).__name__}')
        if hasattr(model.reward, 'check_dataset'):
            model.reward.check_dataset(runner.train_dataloader.dataset)
        self._initial = getattr(model.time_sampler, 'entropy_weight', None)
        self._counts = torch.zeros(HISTOGRAM_BINS, dtype=torch.float64)
        self._sum = torch.zeros((), dtype=torch.float64)
        self._forget_later_records(runner)

    def before_train_iter(self, runner, batch_idx: int,
                          data_batch=None) -> None:
        """Set the entropy weight.

        Args:
            runner (Runner): The runner.
            batch_idx (int): Not used.
            data_batch (dict): Not used.
        """
        if self._initial is not None:
            progress = runner.iter / (runner.max_iters * self.entropy_decay)
            _model(runner).time_sampler.entropy_weight = \
                self._initial * max(0., 1. - progress)

    def after_train_iter(self, runner, batch_idx: int, data_batch=None,
                         outputs=None) -> None:
        """Count the time steps drawn, and record them at the interval.

        Args:
            runner (Runner): The runner.
            batch_idx (int): Not used.
            data_batch (dict): Not used.
            outputs (dict): Not used.
        """
        model = _model(runner)
        timesteps = model.timesteps.cpu()
        bins = timesteps * HISTOGRAM_BINS // model.teacher.num_timesteps
        self._counts += torch.bincount(bins, minlength=HISTOGRAM_BINS)
        self._sum += timesteps.sum()
        if self.every_n_train_iters(runner, self.interval):
            self._record(runner, model)
            self._counts.zero_()
            self._sum.zero_()

    @master_only
    def _forget_later_records(self, runner) -> None:
        """What another run, or the steps before a resume, left behind."""
        path = osp.join(runner.work_dir, 'time_steps.jsonl')
        if not osp.exists(path):
            return
        with open(path) as file:
            lines = [line for line in file
                     if json.loads(line)['iter'] <= runner.iter]
        with open(path, 'w') as file:
            file.writelines(lines)

    @master_only
    def _record(self, runner, model) -> None:
        drawn = self._counts.sum()
        shares = (self._counts / drawn).tolist()
        width = model.teacher.num_timesteps / HISTOGRAM_BINS
        line = dict(
            iter=runner.iter + 1,
            mean_t=round(float(self._sum / drawn), 1),
            entropy_weight=getattr(model.time_sampler, 'entropy_weight', None),
            histogram=[round(share, 4) for share in shares])
        with open(osp.join(runner.work_dir, 'time_steps.jsonl'), 'a') as file:
            file.write(json.dumps(line) + '\n')
        runner.visualizer.add_image(
            'time_steps', _draw(shares, width), step=runner.iter + 1)


def _model(runner):
    return runner.model.module if is_model_wrapper(runner.model) \
        else runner.model


def _draw(shares: List[float], width: float):
    """The histogram as a picture, (H, W, 3), uint8."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    figure = Figure(figsize=(4, 2.5), layout='constrained')
    canvas = FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.bar([i * width for i in range(len(shares))], shares, width,
             align='edge')
    axes.set(xlabel='time step t', ylabel='share')
    canvas.draw()
    import numpy as np
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
