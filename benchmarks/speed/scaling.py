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
import json
import os
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.lib.plan import ROOT
from benchmarks.lib.versions import versions
from benchmarks.speed.many_gpus import bounds
from benchmarks.speed.pairs import PAIRS
from benchmarks.speed.scaling_job import Job, serve
from benchmarks.speed.timing import ratio


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


def measure(jobs, rounds, steps):
    """Seconds of each job in each round, by whether it exchanges."""
    seconds = {world: {True: [], False: []} for world in jobs}
    for _ in range(rounds):
        for world, job in jobs.items():
            for exchange in (True, False):
                seconds[world][exchange].append(
                    job.ask('seconds', exchange, steps))
    return seconds


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
