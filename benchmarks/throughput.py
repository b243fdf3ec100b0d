"""Speed and memory of a training step, against the published one and a limit.

Four ways of taking the same step, in turn, on generated images: as published
(the whole denoiser, float32), our model's train_step, the same through the
Runner with its hooks and data pipeline, and the limit: the bare student's
step and the bare denoiser up to the tap. Ratios are taken within each round.
Where features are pooled, a feature bank at one t beside them: through the
Runner, 20 epochs from an empty bank, filling counted.
Peak memory comes from a process of its own for each.

All but the published step run with the switches (dtype, channels_last,
compile) that a short search finds for the bare teacher and the bare student:
of those within 5 percent of the fastest, the plainest.
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
    tiny_imagenet=dict(
        config='distill/repfusion_resnet18_1xb64-200e_tiny-imagenet.py',
        size=64),
    celebahq=dict(
        config='distill/repfusion_resnet50_celebahq.py',
        denoiser='dpm/unet_256px_celebahq.py', size=256))
WAYS = ('published', 'train_step', 'runner', 'limit', 'bank')
# a call of the bank's way is a whole run on a step's worth of images
STEPS = dict(bank=20)
# relative difference of each loss from the published one's: of our model as
# it is, and with the switches, bfloat16 among them
TOLERANCE, SWITCHED_TOLERANCE = 1e-4, 0.05
# a plainer candidate is taken where it is no slower than this: compiling
# costs memory and a long first step
NEARLY = 1.05


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
    parser.add_argument('--switches', type=json.loads, metavar='JSON',
                        help='take these, such as \'{"teacher": {"dtype": '
                        '"bfloat16"}, "student": {}}\', and do not search')
    parser.add_argument('--json', help='file for the figures')
    parser.add_argument('--memory-of', choices=WAYS, help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def register_images():
    """A data set of generated images, ``mmengine.GeneratedImages``."""
    from mmengine.dataset import BaseDataset
    from mmengine.registry import DATASETS

    @DATASETS.register_module(force=True)
    class GeneratedImages(BaseDataset):

        def __init__(self, count, size, **kwargs):
            self.shape = count, size, size, 3
            super().__init__(**kwargs)

        def load_data_list(self):
            images = np.random.default_rng(0).integers(
                0, 256, self.shape, dtype=np.uint8)
            return [dict(img=image, gt_label=i % 10)
                    for i, image in enumerate(images)]


class Ways:
    """The ways of taking a step, on the same weights.

    Args:
        pair (dict): Of ``PAIRS``.
        device (str): ``'cpu'`` or ``'cuda'``.
        batch (int): Images a step.
        only (str, optional): The one way that is wanted, for its memory.
        switches (dict, optional): ``teacher`` and ``student``: the switches
            of each, and ``amp``, a dtype, beside the student's.
    """

    def __init__(self, pair, device, batch, only=None, switches=None):
        import torch
        from mmengine.config import Config
        from mmengine.logging import MMLogger
        from mmengine.registry import init_default_scope
        from published_step import PublishedStep

        from repfusion_mm.registry import MODELS
        MMLogger.get_instance('throughput').setLevel('ERROR')
        logging.disable(logging.WARNING)  # a line for each weight
        torch.manual_seed(0)
        self.torch, self.device, self.batch = torch, device, batch
        self.size, self.only = pair['size'], only
        register_images()
        self.cfg = Config.fromfile(str(ROOT / 'configs' / pair['config']))
        if 'denoiser' in pair:
            denoiser = Config.fromfile(
                str(ROOT / 'configs' / pair['denoiser'])).model.denoiser
            self.cfg.model.teacher.update(pretrained=None, config=denoiser)
        init_default_scope('mmpretrain')
        if 'baseline' not in self.cfg.model.time_sampler and \
                'Reinforced' in self.cfg.model.time_sampler.type:
            # the published loss has none
            self.cfg.model.time_sampler.baseline = 'none'
        self.sgd = dict(lr=0.1, momentum=0.9, weight_decay=1e-4)
        eager = MODELS.build(self.cfg.model)
        teacher = eager.teacher
        teacher.source.read = teacher.source.build  # random weights
        whole = teacher.read()
        teacher.init_weights = lambda: None  # not cut off behind the tap
        eager.init_weights()
        switches = switches or {}
        student = dict(switches.get('student', {}))
        self.amp = student.pop('amp', None)
        self.cfg.model.update(student)
        self.cfg.model.teacher.update(switches.get('teacher', {}))
        if only != 'published':
            self.model = MODELS.build(self.cfg.model)
            denoiser = copy.deepcopy(whole)
            self.model.teacher.read = lambda: denoiser
            self.model.init_weights()
            self.model.load_state_dict(eager.state_dict())
            self.model.to(device).train()
        if only in (None, 'published'):
            if teacher._condition:  # all images are told the same class
                forward = whole.forward
                whole.forward = lambda images, timesteps: forward(
                    images, timesteps, torch.zeros_like(timesteps))
            self._published = PublishedStep(
                eager.to(device).train(), whole.to(device), self.sgd)

    @property
    def names(self):
        """All ways; without the bank where the features are maps."""
        maps = self.model.connections[0].loss.needs_maps
        return [way for way in WAYS if way != 'bank' or not maps]

    def data(self):
        """A batch as the data loader of the config gives it."""
        from mmpretrain.structures import DataSample
        torch = self.torch
        return dict(
            inputs=torch.randint(
                256, (self.batch, 3, self.size, self.size),
                dtype=torch.uint8),
            data_samples=[DataSample().set_gt_label(i % 10)
                          for i in range(self.batch)])

    def published(self):
        """The published step."""
        return lambda: self._published.step(self.data())

    def train_step(self):
        """Our model's ``train_step``."""
        from mmengine.registry import OPTIM_WRAPPERS
        wrapper = OPTIM_WRAPPERS.build(dict(
            self._wrapper(), optimizer=self.torch.optim.SGD(
                self.model.parameters(), **self.sgd)))
        return lambda: self.model.train_step(self.data(), wrapper)

    def _wrapper(self):
        if self.amp == 'bfloat16':
            return dict(type='repfusion_mm.BFloat16OptimWrapper')
        return dict(type='AmpOptimWrapper', dtype=self.amp) if self.amp \
            else dict(type='OptimWrapper')

    def runner(self):
        """The Runner's iteration: data pipeline, hooks, logging, step."""
        return self.iteration(self.model, 512)

    def bank(self):
        """20 epochs through the Runner, from an empty bank of whole images."""
        from repfusion_mm.registry import MODELS
        model = self.fixed_time()
        folder = Path(tempfile.mkdtemp(), 'bank')
        inner, network = dict(self.cfg.model.teacher), model.teacher.network
        inner.pop('compile', None)  # the number of images varies
        teacher = MODELS.build(dict(
            type='repfusion_mm.BankedTeacher', teacher=inner,
            taps=list(model.teacher.feature_shapes), bank=str(folder),
            dataset=dict(type='mmengine.GeneratedImages', count=self.batch,
                         size=self.size, pipeline=[dict(type='PackInputs')]),
            channel_order='rgb', timesteps=[model.time_sampler.t]))
        teacher.teacher.read = lambda: network  # the same weights
        model.teacher = teacher.to(self.device)
        teacher.init_weights()
        iterate = self.iteration(model, self.batch)
        marks = folder / 'marks.u32'

        def empty():
            marks.write_bytes(bytes(marks.stat().st_size))

        def run():
            empty()
            for _ in range(STEPS['bank']):
                iterate()

        def fill():
            empty()
            for _ in teacher.fill(self.batch):
                pass

        run.fill, run.iterate = fill, iterate  # its parts, to measure alone
        return run

    def fixed_time(self):
        """The model on the same weights, at one t and without a reward."""
        from repfusion_mm.registry import MODELS
        model = self.model if self.only else copy.deepcopy(self.model)
        model.reward = None
        model.time_sampler = MODELS.build(
            dict(type='repfusion_mm.FixedTime', t=100))
        return model

    def iteration(self, model, count):
        """An iteration of the Runner on so many images."""
        from mmengine.runner import Runner
        loader = self.cfg.train_dataloader
        pipeline = [step for step in loader.dataset.pipeline
                    if step['type'] != 'LoadImageFromFile']
        work_dir = tempfile.mkdtemp()
        runner = Runner(
            model,  # on the same weights
            work_dir,
            train_dataloader=dict(
                batch_size=self.batch, **self._workers(),
                collate_fn=loader.collate_fn,
                sampler=dict(type='InfiniteSampler', shuffle=True),
                dataset=dict(type='mmengine.GeneratedImages', count=count,
                             size=self.size, pipeline=pipeline)),
            train_cfg=dict(by_epoch=False, max_iters=10**6),
            optim_wrapper=dict(self._wrapper(),
                               optimizer=dict(type='SGD', **self.sgd)),
            default_hooks=self.cfg.default_hooks,
            custom_hooks=[dict(type='repfusion_mm.TimeSamplerHook'),
                          dict(type='repfusion_mm.DeferLogHook')],
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

    def _workers(self):
        """On a GPU the data are made beside it; two cores are too few."""
        return dict(num_workers=0) if self.device == 'cpu' else dict(
            num_workers=8, persistent_workers=True, pin_memory=True)

    def limit(self):
        """The bare student's step, and the denoiser up to the tap."""
        student, teacher = self.bare_student(), self.bare_teacher()

        def step():
            student()
            teacher()

        return step

    def bare_student(self):
        """The student's forward and backward pass, and its optimiser."""
        torch = self.torch
        student = copy.deepcopy(self.model.backbone)
        optimizer = torch.optim.SGD(student.parameters(), **self.sgd)
        images = self.images()
        if self.model.channels_last:
            images = images.contiguous(memory_format=torch.channels_last)

        def step():
            optimizer.zero_grad()
            with torch.autocast(
                    self.device, getattr(torch, self.amp or 'bfloat16'),
                    enabled=bool(self.amp)):
                loss = student(images)[-1].mean()
            loss.backward()
            optimizer.step()

        return step

    def bare_teacher(self):
        """The denoiser up to the tap."""
        torch, teacher = self.torch, self.model.teacher
        images = self.images()
        timesteps = torch.randint(1000, (self.batch, ), device=self.device)
        classes = teacher._condition and torch.zeros_like(timesteps)

        @torch.no_grad()
        def step():
            teacher.features(images, timesteps, classes, False)

        return step

    def policy(self):
        """What the policy adds to a step, alone; None where there is none."""
        torch = self.torch
        sampler = copy.deepcopy(self.model.time_sampler)
        if not list(sampler.parameters()):
            return None
        optimizer = torch.optim.SGD(sampler.parameters(), **self.sgd)
        images = self.images() * 255
        reward = torch.rand(self.batch, device=self.device)

        def step():
            optimizer.zero_grad()
            losses = sampler.loss(sampler(images), reward, reward >= 0)
            sum(losses.values()).backward()
            optimizer.step()

        return step

    def images(self):
        """Images as the networks take them."""
        return self.torch.rand(self.batch, 3, self.size, self.size,
                               device=self.device)

    def same_losses(self):
        """Largest relative difference between our losses and the published."""
        data = self.data()
        torch = self.torch
        torch.manual_seed(1)
        with torch.autocast(self.device,
                            getattr(torch, self.amp or 'bfloat16'),
                            enabled=bool(self.amp)):
            ours = self.model(**self.model.data_preprocessor(data, True),
                              mode='loss')
        theirs = self._published.losses(data, self.model.timesteps)
        return max(
            float((ours[name] - loss).detach().abs() / loss.detach().abs())
            for name, loss in theirs.items())


def search(pair, device, batch):
    """The best switches for the bare teacher and the bare student.

    Each dtype in each memory format, then the best dtype in each, compiled.
    Of those that are nearly as fast as the fastest the first is taken.

    Returns:
        tuple: The switches, and seconds a step of all that were tried.
    """
    teacher = [None, 'bfloat16'] + ['float16'] * (device == 'cuda')
    # MMEngine trains in half precision on a GPU only
    student = [None] + ['bfloat16', 'float16'] * (device == 'cuda')
    best, tried = {}, {}
    for part, key, dtypes in (('teacher', 'dtype', teacher),
                              ('student', 'amp', student)):

        def seconds(one, part=part):
            return fastest(Ways(pair, device, batch, 'limit', {part: one}),
                           f'bare_{part}')

        candidates = [{key: dtype, 'channels_last': channels_last}
                      for dtype in dtypes for channels_last in (False, True)]
        times = [seconds(one) for one in candidates]
        dtype = candidates[int(np.argmin(times))][key]
        compiled = [{key: dtype, 'channels_last': channels_last,
                     'compile': True} for channels_last in (False, True)]
        candidates += compiled
        times += [seconds(one) for one in compiled]
        best[part] = next(one for one, time in zip(candidates, times)
                          if time <= NEARLY * min(times))
        tried[part] = [dict(one, seconds=round(time, 4))
                       for one, time in zip(candidates, times)]
    return best, tried


def fastest(ways, what):
    """Seconds of the fastest of six steps; of two where they are slow."""
    step, seconds = getattr(ways, what)(), []
    while len(seconds) < 7 and (len(seconds) < 3 or sum(seconds[1:]) < 20):
        start = time.perf_counter()
        step()
        if ways.device == 'cuda':
            ways.torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return min(seconds[1:])  # the first one compiles


def measure(ways, rounds, warmup):
    """Seconds of each way in each round, in turn."""
    steps = {way: getattr(ways, way)() for way in (*ways.names, 'policy')}
    steps = {way: step for way, step in steps.items() if step}
    seconds = {way: [] for way in steps}
    for index in range(warmup + rounds):
        for way, step in steps.items():
            start = time.perf_counter()
            step()
            if ways.device == 'cuda':
                ways.torch.cuda.synchronize()
            if index >= warmup:
                seconds[way].append((time.perf_counter() - start) /
                                    STEPS.get(way, 1))
    return seconds


def ratio(one, other):
    """Geometric mean of paired ratios, with a 95 percent interval."""
    from scipy import stats
    logs = np.log(np.array(one) / np.array(other))
    low, high = stats.ttest_1samp(logs, 0).confidence_interval() \
        if len(logs) > 1 else (np.nan, np.nan)
    return [round(float(np.exp(x)), 3) for x in (logs.mean(), low, high)]


def peak_memory(pair, args, way, switches):
    """Peak memory of a way, from a process of its own, in MiB."""
    output = subprocess.run(
        [sys.executable, __file__, '--pairs', pair, '--device', args.device,
         '--batch', str(args.batch), '--memory-of', way,
         '--switches', json.dumps(switches)],
        check=True, capture_output=True, text=True).stdout
    return float(output.strip().splitlines()[-1])


def print_memory(args):
    """The child's part of :func:`peak_memory`."""
    print(round(peak_on(args) / 2**20, 1))


def peak_on(args):
    """The most that PyTorch's allocator holds during three steps, in bytes."""
    import torch
    from torch.profiler import ProfilerActivity, profile, record_function

    def steps():
        ways = Ways(PAIRS[args.pairs[0]], args.device, args.batch,
                    args.memory_of, args.switches)
        step = getattr(ways, args.memory_of)()
        if args.memory_of == 'limit':
            ways.model = None  # it has a copy
        gc.collect()
        if args.device == 'cuda':
            torch.cuda.reset_peak_memory_stats()
        with record_function('the steps'):
            for _ in range(3):
                step()

    if args.device == 'cuda':
        steps()
        return torch.cuda.max_memory_allocated()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True
                 ) as profiler:  # what is allocated from here on
        steps()
    with tempfile.NamedTemporaryFile(suffix='.json') as file:
        profiler.export_chrome_trace(file.name)
        events = json.loads(Path(file.name).read_text())['traceEvents']
    start = next(event['ts'] for event in events
                 if event['name'] == 'the steps')
    return max(event['args']['Total Allocated'] for event in events
               if event['name'] == '[memory]' and event['ts'] >= start)


def same_losses(pair, args, switches, tolerance):
    """Largest relative difference of a loss from the published one's.

    Raises:
        SystemExit: If it is not the same step.
    """
    difference = Ways(PAIRS[pair], args.device, args.batch,
                      switches=switches).same_losses()
    if not difference <= tolerance:
        raise SystemExit(f'{pair}: with the switches {switches} the losses '
                         f'differ from the published ones by {difference}')
    return difference


def search_table(pair, tried):
    """What was tried, as a table."""
    from rich.table import Table
    table = Table('part', 'switches', 'seconds', title=f'{pair}: search')
    for part, candidates in tried.items():
        for one in candidates:
            on = [f'{name}={value}' for name, value in one.items()
                  if value and name != 'seconds']
            table.add_row(part, ', '.join(on) or 'none',
                          f'{one["seconds"]:.4f}')
    return table


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
        figures = dict(largest_loss_difference=same_losses(
            pair, args, None, TOLERANCE))
        switches = args.switches
        if switches is None:
            switches, figures['search'] = search(PAIRS[pair], args.device,
                                                 args.batch)
            Console().print(search_table(pair, figures['search']))
        figures['switches'] = switches
        figures['largest_loss_difference_switched'] = same_losses(
            pair, args, switches, SWITCHED_TOLERANCE)
        ways = Ways(PAIRS[pair], args.device, args.batch, switches=switches)
        seconds = measure(ways, args.rounds, args.warmup)
        if 'policy' in seconds:
            figures['policy_share'] = ratio(seconds['policy'],
                                            seconds['train_step'])
        table = Table('way', 'images a second', 'times published (95 %)',
                      'of the limit (95 %)', 'peak memory, MiB', title=pair)
        for way in ways.names:
            figures[way] = dict(
                images_per_second=round(
                    args.batch / float(np.median(seconds[way])), 2),
                times_published=ratio(seconds['published'], seconds[way]),
                of_limit=ratio(seconds['limit'], seconds[way]),
                peak_memory=peak_memory(pair, args, way, switches))
            table.add_row(
                way, str(figures[way]['images_per_second']),
                '{:.2f} ({:.2f} to {:.2f})'.format(
                    *figures[way]['times_published']),
                '{:.2f} ({:.2f} to {:.2f})'.format(*figures[way]['of_limit']),
                str(figures[way]['peak_memory']))
        report['pairs'][pair] = figures
        Console().print(table)
        print('losses differ from the published ones by at most '
              f'{figures["largest_loss_difference"]:.1e}, with the switches '
              f'{figures["largest_loss_difference_switched"]:.1e}')
        if 'policy_share' in figures:
            print('the policy takes {:.2%} ({:.2%} to {:.2%}) of train_step'
                  .format(*figures['policy_share']))
    if args.json:
        Path(args.json).write_text(json.dumps(report, indent=1))
    return report


if __name__ == '__main__':
    main()
