"""Runs that are killed, and what is compared of them."""
import json
import os
import select
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config

from tests.test_faults.jobs import (
    COSINE,
    EMA,
    EVERY,
    SCRATCH,
    SMALL,
    STAGE_1,
    STEPS,
    WORKERS,
)

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PATIENCE = 300  # seconds; no test is about how long something takes
# of a log, what a clock says
CLOCKS = ('time', 'data_time', 'memory', 'eta')


class Server:
    """Starts runs of tools/train.py that need not import anything."""

    def __init__(self):
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / 'run_server.py')], cwd=ROOT, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            start_new_session=True, env={
                **os.environ, 'OMP_NUM_THREADS': '1',
                'CUDA_VISIBLE_DEVICES': '-1', 'HF_HUB_OFFLINE': '1',
                'PYTHONPATH': os.pathsep.join([str(ROOT), str(HERE)])})
        self._answer()

    def _answer(self):
        ready, _, _ = select.select([self.process.stdout], [], [], PATIENCE)
        assert ready, 'no answer: a run has not ended'
        return self.process.stdout.readline()

    def run(self, argv, log, env, cwd=ROOT):
        """Exit codes of the processes of a run, minus the signal of one."""
        self.process.stdin.write(json.dumps(dict(
            argv=argv, log=str(log), env=env, cwd=str(cwd))) + '\n')
        self.process.stdin.flush()
        return json.loads(self._answer())

    def close(self):
        self.process.kill()
        self.process.wait()


@pytest.fixture(scope='session')
def server():
    server = Server()
    yield server
    server.close()


class Job:
    """A training by a config, to be run in one work dir or another."""

    def __init__(self, server, folder, cfg, cwd=ROOT):
        self.server, self.folder, self.cwd = server, folder, cwd
        folder.mkdir()
        self.config = str(folder / 'job.py')
        cfg.dump(self.config)

    def run(self, name, fault=None, resume=False, options=(), processes=1):
        """One start; returns the exit code, of several processes a list."""
        argv = [self.config, '--work-dir', str(self.folder / name)]
        argv += ['--resume'] * resume
        if options:
            argv += ['--cfg-options', *options]
        env = dict(FAULT=json.dumps(fault or {}))
        if processes == 1:
            return self.server.run(argv, self.log(name), [env], self.cwd)[0]
        argv += ['--launcher', 'pytorch']
        with socket.socket() as one:
            one.bind(('127.0.0.1', 0))
            port = one.getsockname()[1]
        return self.server.run(argv, self.log(name), [dict(
            env, RANK=str(rank), LOCAL_RANK=str(rank),
            WORLD_SIZE=str(processes), MASTER_ADDR='127.0.0.1',
            MASTER_PORT=str(port)) for rank in range(processes)])

    def complete(self, name, **options):
        """A run that must end well."""
        code = self.run(name, **options)
        assert not any(np.atleast_1d(code)), self.said(name)[-3000:]

    def log(self, name):
        return self.folder / f'{name}.txt'

    def said(self, name):
        return self.log(name).read_text()

    def path(self, name, file):
        return self.folder / name / file

    def last(self, name):
        """The path that ``last_checkpoint`` names, and what is in it."""
        path = self.path(name, 'last_checkpoint').read_text()
        return path, torch.load(path, weights_only=False)

    def seen(self, name, rank=0):
        """What the steps saw, those that ran twice too."""
        return [json.loads(line) for line in self.path(
            name, f'seen_{rank}.jsonl').read_text().splitlines()]


@pytest.fixture(scope='session')
def make_job(server, tmp_path_factory):
    """A job of one of our configs, made small."""

    def make(config, options):
        cfg = Config.fromfile(ROOT / config)
        cfg.merge_from_dict({
            'custom_imports': dict(imports=['faults']),
            'default_hooks.logger.interval': 5, **options})
        cfg.custom_hooks = [*cfg.get('custom_hooks', []),
                            dict(type='Witness'), dict(type='LastWitness')]
        return Job(server, tmp_path_factory.mktemp('job') / 'runs', cfg)

    return make


def assert_same(found, wanted, where=''):
    """Bit for bit, down to the leaves."""
    if isinstance(wanted, dict):
        assert list(found) == list(wanted), where
        for key in wanted:
            assert_same(found[key], wanted[key], f'{where}.{key}')
    elif isinstance(wanted, (list, tuple)):
        assert len(found) == len(wanted), where
        for i, (one, other) in enumerate(zip(found, wanted)):
            assert_same(one, other, f'{where}[{i}]')
    elif isinstance(wanted, torch.Tensor):
        assert found.dtype == wanted.dtype, where
        assert torch.equal(found, wanted), where
    elif isinstance(wanted, np.ndarray):
        assert np.array_equal(found, wanted, equal_nan=True), where
    else:
        assert found == wanted, where


def history(checkpoint):
    """The losses, rewards and learning rates of all steps."""
    scalars = checkpoint['message_hub']['log_scalars']
    return {name: scalars[name].data for name in sorted(scalars)
            if name.split('/')[-1] not in CLOCKS}


def assert_same_end(job, name, whole, processes=1):
    """That a run ended as one that was not interrupted."""
    _, found = job.last(name)
    _, wanted = job.last(whole)
    for key in ('state_dict', 'ema_state_dict', 'optimizer',
                'param_schedulers', 'time_steps', 'exact_resume'):
        assert_same(found.get(key), wanted.get(key), key)
    assert_same(history(found), history(wanted), 'message_hub')
    for key in ('epoch', 'iter'):
        assert found['meta'][key] == wanted['meta'][key]
    # each step, also those that were run twice, saw the same
    for rank in range(processes):
        steps = {one['iter']: one for one in job.seen(whole, rank)}
        again = job.seen(name, rank)
        for one in again:
            assert one == steps[one['iter']]
        assert {one['iter'] for one in again} == set(steps)
    records = job.path(whole, 'time_steps.jsonl')
    if records.exists():
        assert job.path(name, 'time_steps.jsonl').read_text() == \
            records.read_text()


@pytest.fixture(scope='session')
def same_end():
    return assert_same_end


@pytest.fixture(scope='session')
def stage_1(make_job):
    """A policy that looked first, averaged weights, a log that waits."""
    job = make_job(STAGE_1, {
        **SMALL,
        'train_cfg.max_iters': STEPS,
        'param_scheduler': COSINE,
        'default_hooks.checkpoint.interval': EVERY,
        'default_hooks.defer_log': dict(type='repfusion_mm.DeferLogHook'),
        'model.time_sampler.entropy_weight': 0.1,
        'custom_hooks': [
            EMA, dict(type='repfusion_mm.TimeSamplerHook', interval=4)]})
    job.complete('whole')
    return job


@pytest.fixture(scope='session')
def epochs(make_job):
    """Epochs of 5 batches, 3 to an update, by workers; a checkpoint every 4.

    It validates, and keeps the best.
    """
    job = make_job(SCRATCH, {
        **SMALL, **WORKERS,
        'model.head.in_channels': 32,
        'train_dataloader.dataset.times': 2,
        'train_dataloader.sampler': dict(type='DefaultSampler', shuffle=True),
        'train_cfg': dict(_delete_=True, by_epoch=True, max_epochs=3,
                          val_interval=1),
        'param_scheduler': [dict(type='StepLR', step_size=1)],
        'log_processor.by_epoch': True,
        'optim_wrapper.accumulative_counts': 3,
        'default_hooks.checkpoint': dict(interval=4, by_epoch=False,
                                         save_best='accuracy/top1')})
    job.complete('whole')
    return job
