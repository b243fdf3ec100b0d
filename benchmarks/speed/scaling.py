"""How a training step scales over processes, and what would bound many GPUs.

Jobs of 1, 2 and 4 processes, one thread each, take steps in turn, with gloo
on this machine's cores. Each process has the same number of images. Beside
each job the same processes take the same steps without exchanging gradients:
what cores shared by too many take is in both.

The bytes that a step exchanges are counted, in the hook through which DDP
sends its gradients and in the model's own calls, and so are its operations.
From these and from the links and the speed that are assumed (see below) comes
what a step on 8 and on 64 GPUs would wait for: its computation, or the links.
"""
import argparse
import contextlib
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.lib.plan import ROOT, versions
from benchmarks.speed.timing import ratio
from benchmarks.speed.ways import PAIRS, Ways

REPLY = 'reply: '


def parse_args(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--pair', choices=list(PAIRS), default='cifar10',
                        help='teacher and student (default: %(default)s)')
    parser.add_argument('--processes', nargs='+', type=int,
                        default=[1, 2, 4],
                        help='sizes of the jobs, the first is what the '
                        'others are compared with (default: 1 2 4)')
    parser.add_argument('--batch', type=int, default=8,
                        help='images a process (default: %(default)s)')
    parser.add_argument('--rounds', type=int, default=15,
                        help='rounds after the warm-up; in each, every job '
                        'takes its steps (default: %(default)s)')
    parser.add_argument('--steps', type=int, default=1,
                        help='steps of a job in a round (default: '
                        '%(default)s)')
    parser.add_argument('--json', help='file for the figures')
    group = parser.add_argument_group(
        'what is assumed of the GPUs, and not measured')
    group.add_argument('--gpus', nargs='+', type=int, default=[8, 64],
                       help='(default: 8 64)')
    group.add_argument('--gpu-batch', type=int, default=128,
                       help='images a GPU where the batch grows with the '
                       'GPUs, and of all GPUs where it does not (default: '
                       '%(default)s, the published batch)')
    group.add_argument('--tflops', type=float, default=30.,
                       help='10^12 operations a second that a GPU reaches in '
                       'this step (default: %(default)s)')
    group.add_argument('--per-machine', type=int, default=8,
                       help='GPUs in a machine (default: %(default)s)')
    group.add_argument('--machine-link', type=float, default=100.,
                       help='GB a second that a GPU sends and receives inside '
                       'a machine (default: %(default)s; about 15 without '
                       'NVLink)')
    group.add_argument('--network-link', type=float, default=12.5,
                       help='GB a second that a machine sends and receives '
                       '(default: %(default)s, 100 Gbit a second)')
    group.add_argument('--hop', type=float, default=10.,
                       help='microseconds from one GPU to another, however '
                       'small the message (default: %(default)s)')
    parser.add_argument('--process', nargs=3, help=argparse.SUPPRESS)
    return parser.parse_args(argv)


class Job:
    """Some processes that train together, and wait between their steps.

    Args:
        world (int): Number of processes.
        args (Namespace): The command line.
        folder (Path): For what they leave behind.
    """

    def __init__(self, world, args, folder):
        self.folder = folder / str(world)
        self.folder.mkdir()
        self.processes = [subprocess.Popen(
            [sys.executable, '-m', 'benchmarks.speed.scaling', '--pair',
             args.pair, '--batch', str(args.batch), '--process', str(rank),
             str(world), str(self.folder)], cwd=ROOT,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            stderr=open(self.folder / f'{rank}.log', 'w'),
            env={**os.environ, 'OMP_NUM_THREADS': '1'})
            for rank in range(world)]

    def ask(self, name, *arguments):
        """Have all processes call a method; returns what the first did."""
        for process in self.processes:
            process.stdin.write(json.dumps([name, *arguments]) + '\n')
            process.stdin.flush()
        return [self._reply(rank) for rank in range(len(self.processes))][0]

    def stop(self):
        for process in self.processes:
            process.kill()
            process.wait()

    def _reply(self, rank):
        for line in self.processes[rank].stdout:
            if line.startswith(REPLY):
                return json.loads(line[len(REPLY):])
        log = (self.folder / f'{rank}.log').read_text()
        raise SystemExit(f'process {rank} of {len(self.processes)} died:\n'
                         + log[-3000:])


class Process:
    """One of a job's processes.

    Args:
        rank (int): Which.
        world (int): Of how many.
        folder (str): Where they meet.
        args (Namespace): The command line.
    """

    def __init__(self, rank, world, folder, args):
        import torch
        from mmengine.model import MMDistributedDataParallel
        from mmengine.optim import OptimWrapper
        torch.set_num_threads(1)
        self.dist = torch.distributed
        self.dist.init_process_group(
            'gloo', init_method=f'file://{folder}/store', rank=rank,
            world_size=world)
        self.ways = Ways(PAIRS[args.pair], 'cpu', args.batch, 'train_step')
        self.model = MMDistributedDataParallel(self.ways.model,
                                               broadcast_buffers=False)
        self.optimizer = OptimWrapper(torch.optim.SGD(
            self.model.parameters(), **self.ways.sgd))
        self._count()

    def seconds(self, exchange, steps):
        """What some steps take, with or without exchanging gradients."""
        self.dist.barrier()
        start = time.perf_counter()
        with contextlib.nullcontext() if exchange else self.model.no_sync():
            for _ in range(steps):
                self.model.train_step(self.ways.data(), self.optimizer)
        self.dist.barrier()
        return time.perf_counter() - start

    def messages(self):
        """Bytes of each message of a step."""
        self.gradients.clear()
        self.others.clear()
        self.seconds(True, 1)
        return dict(
            gradients=self.gradients, others=self.others,
            parameters=sum(p.nbytes for p in self.model.parameters()
                           if p.requires_grad))

    def operations(self):
        """Floating-point operations of a step for each image."""
        from torch.utils.flop_counter import FlopCounterMode
        with FlopCounterMode(display=False) as counter:
            self.ways.model.train_step(self.ways.data(), self.optimizer)
        return counter.get_total_flops() / self.ways.batch

    def _count(self):
        from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import (
            allreduce_hook,
        )

        from repfusion_mm.models import all_processes
        self.gradients, self.others = [], []
        all_reduce = all_processes.all_reduce

        def send(state, bucket):
            self.gradients.append(bucket.buffer().nbytes)
            return allreduce_hook(state, bucket)

        def send_other(tensor):
            self.others.append(tensor.nbytes)
            return all_reduce(tensor)

        self.model.register_comm_hook(None, send)
        all_processes.all_reduce = send_other


def serve(args):
    """Does what it is asked on its standard input."""
    rank, world, folder = args.process
    process = Process(int(rank), int(world), folder, args)
    for line in sys.stdin:
        name, *arguments = json.loads(line)
        print(REPLY + json.dumps(getattr(process, name)(*arguments)),
              flush=True)


def measure(jobs, rounds, steps):
    """Seconds of each job in each round, by whether it exchanges."""
    seconds = {world: {True: [], False: []} for world in jobs}
    for _ in range(rounds):
        for world, job in jobs.items():
            for exchange in (True, False):
                seconds[world][exchange].append(
                    job.ask('seconds', exchange, steps))
    return seconds


def bound(gpus, batch, messages, operations, args):
    """What a step on many GPUs would wait for, in milliseconds.

    Rings inside each machine, then one of machines over their networks. A
    message however small takes a tree up and down.

    Args:
        gpus (int): How many.
        batch (int): Images a GPU.
        messages (dict): ``gradients`` and ``others``: bytes of each message.
        operations (float): Of an image.
        args (Namespace): What is assumed.

    Returns:
        dict: Milliseconds, which part is the longest, and the share of the
        time that is computation if nothing, or all, of the gradients'
        exchange is hidden behind it.
    """
    inside = min(gpus, args.per_machine)
    machines = math.ceil(gpus / args.per_machine)
    size = sum(messages['gradients'])
    latency = 2 * math.ceil(math.log2(gpus)) * args.hop * 1e-3
    parts = dict(
        computation=batch * operations / args.tflops * 1e-9,
        machine_link=2 * (inside - 1) / inside * size /
        args.machine_link * 1e-6,
        network_link=2 * (machines - 1) / machines * size /
        args.network_link * 1e-6,
        latency=latency * len(messages['gradients']),
        # the loss waits for these
        others=latency * len(messages['others']))
    computation, others = parts['computation'], parts['others']
    links = sum(parts.values()) - computation - others
    return dict(
        gpus=gpus, images_a_gpu=batch,
        milliseconds={name: round(part, 3) for name, part in parts.items()},
        bound_by=max(parts, key=parts.get),
        efficiency=[round(computation / (others + total), 3) for total in
                    (computation + links, max(computation, links))])


def bounds(messages, operations, args):
    """:func:`bound` for each number of GPUs and way of sharing images."""
    return [bound(gpus, batch, messages, operations, args)
            for gpus in args.gpus
            for batch in (args.gpu_batch, max(args.gpu_batch // gpus, 1))]


def main(argv=None):
    args = parse_args(argv)
    if args.json:
        args.json = os.path.abspath(args.json)
    os.chdir(ROOT)
    if args.process:
        serve(args)
        return None
    with tempfile.TemporaryDirectory() as folder:
        jobs = {}
        try:
            for world in args.processes:
                jobs[world] = Job(world, args, Path(folder))
            operations = jobs[args.processes[0]].ask('operations')
            for job in jobs.values():  # DDP settles its buckets, caches warm
                for exchange in (True, False, True):
                    job.ask('seconds', exchange, 1)
            messages = jobs[max(jobs)].ask('messages')
            seconds = measure(jobs, args.rounds, args.steps)
        finally:
            for job in jobs.values():
                job.stop()
    report = dict(
        pair=args.pair, batch=args.batch, rounds=args.rounds,
        steps=args.steps, cores=len(os.sched_getaffinity(0)),
        processes=figures(seconds, args), messages=messages,
        operations=operations,
        assumed={name: getattr(args, name) for name in (
            'gpu_batch', 'tflops', 'per_machine', 'machine_link',
            'network_link', 'hop')},
        bounds=bounds(messages, operations, args),
        versions=dict(versions(), threads=1))
    show(report)
    if args.json:
        Path(args.json).write_text(json.dumps(report, indent=1))
    return report


def figures(seconds, args):
    """Images a second of each job, and its ratios within the rounds."""
    first = args.processes[0]
    return {world: dict(
        images_per_second=round(world * args.batch * args.steps /
                                float(np.median(ways[True])), 2),
        times_first=ratio([world / first * s for s in seconds[first][True]],
                          ways[True]),
        of_no_exchange=ratio(ways[False], ways[True]))
        for world, ways in seconds.items()}


def show(report):
    from rich.console import Console
    from rich.table import Table
    console = Console()
    table = Table('processes', 'images a second', 'times the first (95 %)',
                  'of the same without exchange (95 %)',
                  title=f'{report["pair"]}, {report["cores"]} cores')
    for world, row in report['processes'].items():
        table.add_row(str(world), str(row['images_per_second']), *(
            '{:.2f} ({:.2f} to {:.2f})'.format(*row[name])
            for name in ('times_first', 'of_no_exchange')))
    console.print(table)
    messages = report['messages']
    console.print(
        f'a step exchanges {sum(messages["gradients"]) / 1e6:.1f} MB of '
        f'gradients in {len(messages["gradients"])} messages, and '
        f'{sum(messages["others"])} bytes in {len(messages["others"])} more; '
        f'{report["operations"] / 1e9:.2f} GFLOP an image')
    table = Table('GPUs', 'images a GPU', 'computation, ms', 'links, ms',
                  'bound by', 'efficiency', title='assumed: ' + ', '.join(
                      f'{k} {v:g}' for k, v in report['assumed'].items()))
    for row in report['bounds']:
        parts = row['milliseconds']
        table.add_row(
            str(row['gpus']), str(row['images_a_gpu']),
            f'{parts["computation"]:.2f}',
            f'{sum(parts.values()) - parts["computation"]:.2f}',
            row['bound_by'].replace('_', ' '),
            '{:.0%} to {:.0%}'.format(*row['efficiency']))
    console.print(table)


if __name__ == '__main__':
    main()
