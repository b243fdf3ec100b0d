"""Faults at moments that are known beforehand, and what was seen by then.

Imported by a job's config. The environment variable FAULT holds a fault as
JSON: ``what`` happens, ``where`` in the training, and ``at`` which step or
file.
"""
import builtins
import errno
import hashlib
import json
import multiprocessing
import os
import os.path as osp
import resource
import signal

import numpy as np
import torch
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from repfusion_mm.engine.resuming import atomic_write

# within the writing of a file
WRITE = ('half_written', 'before_rename', 'after_rename')
FAULT = json.loads(os.environ.get('FAULT', '{}'))


def strike():
    """The fault itself: a signal, an error of the disk, or a full one."""
    what = FAULT['what']
    if what == 'full_disk':
        resource.setrlimit(resource.RLIMIT_FSIZE, (10**5, 10**5))
    elif what in errno.errorcode.values():
        number = getattr(errno, what)
        raise OSError(number, os.strerror(number))
    else:
        if FAULT.get('workers_too'):  # as Slurm does
            for worker in multiprocessing.active_children():
                os.kill(worker.pid, getattr(signal, what))
        os.kill(os.getpid(), getattr(signal, what))


def reached(where, at):
    """The fault, if this is its moment: a step, or the name of a file."""
    if FAULT.get('where') == where and FAULT['at'] == at and \
            FAULT.get('rank', 0) == get_rank():
        strike()


class Torn:
    """A file of which only a half is written before the fault."""

    def __init__(self, file, name):
        self.file, self.name = file, name

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.file.close()

    def write(self, content):
        half = len(content) // 2
        self.file.write(content[:half])
        self.file.flush()
        reached('half_written', self.name)
        self.file.write(content[half:])

    def __getattr__(self, name):
        return getattr(self.file, name)


class Watched:
    """``os`` and ``open`` of the module that writes files."""

    @staticmethod
    def torn(path, mode):
        name = osp.basename(path)[:-len('.part')]
        return Torn(builtins.open(path, mode), name)

    @staticmethod
    def replace(draft, path):
        reached('before_rename', osp.basename(path))
        os.replace(draft, path)
        reached('after_rename', osp.basename(path))

    def __getattr__(self, name):
        return getattr(os, name)


if FAULT.get('where') in WRITE:
    atomic_write.os = watched = Watched()
    atomic_write.open = watched.torn


def digests(images):
    """A hash of each image of a batch."""
    return [hashlib.sha256(image.contiguous().numpy().tobytes())
            .hexdigest()[:16] for image in images]


@HOOKS.register_module()
class Witness(Hook):
    """Writes down what each step sees, and has the fault happen."""
    priority = 'HIGHEST'

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        reached('before_step', runner.iter)
        self.seen = dict(iter=runner.iter, epoch=runner.epoch,
                         batch=batch_idx, images=digests(data_batch['inputs']))

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
