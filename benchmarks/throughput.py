"""Speed and memory of a training step, against the published one and a limit.

Four ways of taking the same step, in turn, on generated images: as published
(the whole denoiser, float32), our model's train_step, the same through the
Runner with its hooks and data pipeline, and the limit: the bare student's
step and the bare denoiser up to the tap. Ratios are taken within each round.
Peak memory comes from a process of its own for each.
"""
import argparse
import copy
import gc
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from plan import ROOT, versions

PAIRS = dict(
    cifar10=dict(
        config='distill/repfusion_resnet18_1xb128-200e_cifar10.py',
        denoiser='dpm/unet_32px_cifar10.py', size=32),
    celebahq=dict(
        config='distill/repfusion_resnet50_celebahq.py',
        denoiser='dpm/unet_256px_celebahq.py', size=256))
WAYS = ('published', 'train_step', 'runner', 'limit')


def parse_args(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--device', choices=['cpu', 'cuda'], default='cpu',
                        help='where to measure (default: %(default)s)')
    parser.add_argument('--pairs', nargs='+', choices=list(PAIRS),
                        default=['cifar10'],
                        help='teacher and student (default: cifar10)')
    parser.add_argument('--batch', type=int, default=32,
                        help='images a step (default: %(default)s)')
    parser.add_argument('--rounds', type=int, default=15,
                        help='rounds after the warm-up (default: '
                        '%(default)s)')
    parser.add_argument('--warmup', type=int, default=3,
                        help='rounds before (default: %(default)s)')
    parser.add_argument('--json', help='file for the figures')
    parser.add_argument('--memory-of', choices=WAYS, help=argparse.SUPPRESS)
    return parser.parse_args(argv)


class Ways:
    """The ways of taking a step, on the same weights.

    Args:
        pair (dict): Of ``PAIRS``.
        device (str): ``'cpu'`` or ``'cuda'``.
        batch (int): Images a step.
        only (str, optional): The one way that is wanted, for its memory.
    """

    def __init__(self, pair, device, batch, only=None):
        import torch
        from mmengine.config import Config
        from mmengine.logging import MMLogger
        from mmengine.registry import init_default_scope
        from published_step import PublishedStep

        from repfusion_mm.registry import MODELS
        MMLogger.get_instance('throughput', log_level='ERROR')
        logging.disable(logging.WARNING)  # a line for each weight
        torch.manual_seed(0)
        self.torch, self.device, self.batch = torch, device, batch
        self.size = pair['size']
        self.cfg = Config.fromfile(str(ROOT / 'configs' / pair['config']))
        denoiser = Config.fromfile(
            str(ROOT / 'configs' / pair['denoiser'])).model.denoiser
        init_default_scope('mmpretrain')
        self.cfg.model.teacher.update(pretrained=None, config=denoiser)
        if 'baseline' not in self.cfg.model.time_sampler and \
                'Reinforced' in self.cfg.model.time_sampler.type:
            # the published loss has none
            self.cfg.model.time_sampler.baseline = 'none'
        self.model = MODELS.build(self.cfg.model)
        self.sgd = dict(lr=0.1, momentum=0.9, weight_decay=1e-4)
        whole = self.model.teacher.source.read()
        if only != 'published':
            truncated = copy.deepcopy(whole)
            self.model.teacher.source.read = lambda: truncated
            self.model.init_weights()
        self.model.to(device).train()
        if only in (None, 'published'):
            self._published = PublishedStep(self.model, whole.to(device),
                                            self.sgd)

    def data(self):
        """A batch as a data loader gives it."""
        from mmpretrain.structures import DataSample
        torch = self.torch
        return dict(
            inputs=list(torch.randint(
                256, (self.batch, 3, self.size, self.size),
                dtype=torch.uint8)),
            data_samples=[DataSample().set_gt_label(i % 10)
                          for i in range(self.batch)])

    def published(self):
        """The published step."""
        return lambda: self._published.step(self.data())

    def train_step(self):
        """Our model's ``train_step``."""
        from mmengine.optim import OptimWrapper
        wrapper = OptimWrapper(self.torch.optim.SGD(
            self.model.parameters(), **self.sgd))
        return lambda: self.model.train_step(self.data(), wrapper)

    def runner(self):
        """The Runner's iteration: data pipeline, hooks, logging, step."""
        from mmengine.dataset import BaseDataset
        from mmengine.registry import DATASETS
        from mmengine.runner import Runner

        @DATASETS.register_module(force=True)
        class GeneratedImages(BaseDataset):

            def load_data_list(inner):
                images = np.random.default_rng(0).integers(
                    0, 256, (512, self.size, self.size, 3), dtype=np.uint8)
                return [dict(img=image, gt_label=i % 10)
                        for i, image in enumerate(images)]

        pipeline = [step for step in self.cfg.train_pipeline
                    if step['type'] != 'LoadImageFromFile']
        work_dir = tempfile.mkdtemp()
        runner = Runner(
            self.model,  # on the same weights
            work_dir,
            train_dataloader=dict(
                batch_size=self.batch, num_workers=0,
                sampler=dict(type='InfiniteSampler', shuffle=True),
                dataset=dict(type='mmengine.GeneratedImages',
                             pipeline=pipeline)),
            train_cfg=dict(by_epoch=False, max_iters=10**6),
            optim_wrapper=dict(optimizer=dict(type='SGD', **self.sgd)),
            default_hooks=self.cfg.default_hooks,
            custom_hooks=[dict(type='repfusion_mm.TimeSamplerHook')],
            log_processor=dict(by_epoch=False),
            log_level='ERROR', default_scope='mmpretrain',
            experiment_name=Path(work_dir).name)
        loop = runner.build_train_loop(runner._train_loop)
        runner._train_loop = loop
        runner.optim_wrapper = runner.build_optim_wrapper(
            runner.optim_wrapper)
        runner.call_hook('before_run')
        runner.call_hook('before_train')
        runner.call_hook('before_train_epoch')
        batches = iter(loop.dataloader)
        return lambda: loop.run_iter(next(batches))

    def limit(self):
        """The bare student's step, and the denoiser up to the tap."""
        torch = self.torch
        student = copy.deepcopy(self.model.backbone)
        optimizer = torch.optim.SGD(student.parameters(), **self.sgd)
        images = torch.rand(self.batch, 3, self.size, self.size,
                            device=self.device)
        timesteps = torch.randint(1000, (self.batch, ), device=self.device)
        teacher = self.model.teacher

        def step():
            optimizer.zero_grad()
            student(images)[-1].mean().backward()
            optimizer.step()
            with torch.no_grad():
                teacher.features(images, timesteps, None, False)

        return step

    def same_losses(self):
        """Largest relative difference between our losses and the published."""
        data = self.data()
        torch = self.torch
        torch.manual_seed(1)
        ours = self.model(**self.model.data_preprocessor(data, True),
                          mode='loss')
        theirs = self._published.losses(data, self.model.timesteps)
        return max(
            float((ours[name] - loss).detach().abs() / loss.detach().abs())
            for name, loss in theirs.items())


def measure(ways, rounds, warmup):
    """Seconds of each way in each round, in turn."""
    steps = {way: getattr(ways, way)() for way in WAYS}
    seconds = {way: [] for way in WAYS}
    for index in range(warmup + rounds):
        for way, step in steps.items():
            start = time.perf_counter()
            step()
            if ways.device == 'cuda':
                ways.torch.cuda.synchronize()
            if index >= warmup:
                seconds[way].append(time.perf_counter() - start)
    return seconds


def ratio(one, other):
    """Geometric mean of paired ratios, with a 95 percent interval."""
    from scipy import stats
    logs = np.log(np.array(one) / np.array(other))
    low, high = stats.ttest_1samp(logs, 0).confidence_interval() \
        if len(logs) > 1 else (np.nan, np.nan)
    return [round(float(np.exp(x)), 3) for x in (logs.mean(), low, high)]


def peak_memory(pair, args, way):
    """Peak memory of a way, from a process of its own, in MiB."""
    output = subprocess.run(
        [sys.executable, __file__, '--pairs', pair, '--device', args.device,
         '--batch', str(args.batch), '--memory-of', way],
        check=True, capture_output=True, text=True).stdout
    return float(output.strip().splitlines()[-1])


def print_memory(args):
    """The child's part of :func:`peak_memory`: beyond what imports take."""
    import diffusers  # noqa: F401
    import mmpretrain.models  # noqa: F401
    before = _memory('VmRSS')
    ways = Ways(PAIRS[args.pairs[0]], args.device, args.batch,
                args.memory_of)
    step = getattr(ways, args.memory_of)()
    gc.collect()
    if args.device == 'cuda':
        ways.torch.cuda.reset_peak_memory_stats()
    else:
        Path('/proc/self/clear_refs').write_text('5')  # a new high-water mark
    for _ in range(3):
        step()
    peak = ways.torch.cuda.max_memory_allocated() / 2**20 \
        if args.device == 'cuda' else _memory('VmHWM') - before
    print(round(peak, 1))


def _memory(kind):
    """Resident memory of this process in MiB, from Linux."""
    lines = Path('/proc/self/status').read_text().splitlines()
    line = next(line for line in lines if line.startswith(kind))
    return int(line.split()[1]) / 2**10


def main(argv=None):
    args = parse_args(argv)
    if args.json:
        args.json = os.path.abspath(args.json)
    os.chdir(ROOT)
    if args.memory_of:
        print_memory(args)
        return None
    from rich.console import Console
    from rich.table import Table
    report = dict(pairs={}, batch=args.batch, rounds=args.rounds,
                  device=args.device, versions=versions())
    for pair in args.pairs:
        ways = Ways(PAIRS[pair], args.device, args.batch)
        figures = dict(largest_loss_difference=ways.same_losses())
        seconds = measure(ways, args.rounds, args.warmup)
        table = Table('way', 'images a second', 'times published (95 %)',
                      'of the limit (95 %)', 'peak memory, MiB', title=pair)
        for way in WAYS:
            figures[way] = dict(
                images_per_second=round(
                    args.batch / float(np.median(seconds[way])), 2),
                times_published=ratio(seconds['published'], seconds[way]),
                of_limit=ratio(seconds['limit'], seconds[way]),
                peak_memory=peak_memory(pair, args, way))
            table.add_row(
                way, str(figures[way]['images_per_second']),
                '{:.2f} ({:.2f} to {:.2f})'.format(
                    *figures[way]['times_published']),
                '{:.2f} ({:.2f} to {:.2f})'.format(*figures[way]['of_limit']),
                str(figures[way]['peak_memory']))
        report['pairs'][pair] = figures
        Console().print(table)
    if args.json:
        Path(args.json).write_text(json.dumps(report, indent=1))
    return report


if __name__ == '__main__':
    main()
