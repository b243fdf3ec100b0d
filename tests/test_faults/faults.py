"""Faults at moments that are known beforehand, and what was seen by then.

Imported by a job's config. The environment variable FAULT holds a fault as
JSON: ``what`` happens, ``where`` in the training, and at which ``count``.
"""
import builtins
import hashlib
import json
import os
import os.path as osp
import signal

import numpy as np
import torch
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from repfusion_mm.engine.resuming import atomic_write

# within a step, and within the writing of a file
STEP = ('before_step', 'after_step')
WRITE = ('half_written', 'before_rename', 'after_rename')
FAULT = json.loads(os.environ.get('FAULT', '{}'))


def strike():
    """The fault itself."""
    what = FAULT['what']
    if what == 'error':
        raise OSError(28, 'No space left on device')
    os.kill(os.getpid(), getattr(signal, what))


def reached(where, count, path=''):
    if FAULT.get('where') == where and FAULT['count'] == count and \
            FAULT.get('rank', 0) == get_rank() and \
            path.endswith(FAULT.get('path', '')):
        strike()


class Torn:
    """A file of which only a half is written before the fault."""

    def __init__(self, file, count, path):
        self.file, self.count, self.path = file, count, path

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.file.close()

    def write(self, content):
        half = len(content) // 2
        self.file.write(content[:half])
        self.file.flush()
        reached('half_written', self.count, self.path)
        self.file.write(content[half:])

    def __getattr__(self, name):
        return getattr(self.file, name)


class Watched:
    """``os`` and ``open`` of the module that writes files."""

    def __init__(self):
        self.writes = 0

    def torn(self, path, mode):
        if path.endswith('.pth.part'):
            self.writes += 1
        return Torn(builtins.open(path, mode), self.writes, path[:-5])

    def replace(self, draft, path):
        reached('before_rename', self.writes, path)
        os.replace(draft, path)
        reached('after_rename', self.writes, path)

    def __getattr__(self, name):
        return getattr(os, name)


if FAULT.get('where') in WRITE:
    atomic_write.os = watched = Watched()
    atomic_write.open = watched.torn


def digest(value):
    """A hash of a batch's images."""
    images = torch.stack(list(value)).contiguous()
    return hashlib.sha256(images.numpy().tobytes()).hexdigest()[:16]


@HOOKS.register_module()
class Witness(Hook):
    """Writes down what each step sees, and has the fault happen."""
    priority = 'HIGHEST'

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        reached('before_step', runner.iter)
        self.seen = dict(iter=runner.iter, epoch=runner.epoch,
                         batch=batch_idx, images=digest(data_batch['inputs']))

    def after_train_iter(self, runner, batch_idx, data_batch=None,
                         outputs=None):
        model = getattr(runner.model, 'module', runner.model)
        times = getattr(model, 'timesteps', None)
        self.seen.update(
            times=None if times is None else times.tolist(),
            draws=[float(np.random.random()), float(torch.rand(1))])
        # what was drawn here is drawn in every run
        path = osp.join(runner.work_dir, f'seen_{get_rank()}.jsonl')
        with open(path, 'a') as file:
            file.write(json.dumps(self.seen) + '\n')
        reached('after_step', runner.iter)

    def before_val_iter(self, runner, batch_idx, data_batch=None):
        reached('in_validation', runner.iter)


@HOOKS.register_module()
class LastWitness(Hook):
    """The end of a step, when the checkpoint has been written."""
    priority = 'LOWEST'

    def after_train_iter(self, runner, batch_idx, data_batch=None,
                         outputs=None):
        reached('end_of_step', runner.iter)
