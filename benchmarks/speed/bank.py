"""From which number of epochs on a feature bank pays, for k time bins.

Measured in turn, at CIFAR-10's size: through the Runner, a step whose teacher
computes and a step that draws from a full bank, both at one t; an entry of the
bank, computed and written; and the published step. An image has m = 2k
entries: k bins, as it is and mirrored. Filled while training, the first E
epochs compute m (1 - (1 - 1/m)^E) of them, as the draws fall; filled ahead,
all m. The rest follows by arithmetic.
"""
import argparse
import json
import os
import time
from pathlib import Path

import numpy as np

from benchmarks.lib.plan import ROOT
from benchmarks.lib.versions import versions
from benchmarks.speed.pairs import PAIRS
from benchmarks.speed.runner_iteration import runner_iteration
from benchmarks.speed.ways import Ways

BINS = (1, 5, 20)
MAX_EPOCHS = 10_000


def parse_args(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--device', choices=['cpu', 'cuda'], default='cpu',
                        help='where to measure (default: %(default)s)')
    parser.add_argument('--batch', type=int, default=32,
                        help='images a step (default: %(default)s)')
    parser.add_argument('--rounds', type=int, default=15,
                        help='rounds after one to warm up (default: '
                        '%(default)s)')
    parser.add_argument('--epochs', type=int, nargs='+', default=[20, 200],
                        help='lengths of training to report (default: 20 200)')
    parser.add_argument('--json', help='file for the figures')
    return parser.parse_args(argv)


def entries_seen(bins, epochs):
    """Expected entries of an image that are drawn in some epochs."""
    entries = 2 * bins
    return entries * (1 - (1 - 1 / entries)**epochs)


def seconds_an_image(times, bins, epochs, ahead):
    """Seconds that an image takes in all epochs together, by a bank.

    Args:
        times (dict): Seconds an image of a ``drawn`` step, and an ``entry``.
        bins (int): Time bins.
        epochs (int): Epochs.
        ahead (bool): Whether the bank is filled ahead, or while training.
    """
    entries = 2 * bins if ahead else entries_seen(bins, epochs)
    return epochs * times['drawn'] + entries * times['entry']


def pays_from(times, bins, ahead):
    """The first number of epochs that a bank is faster at; None if never."""
    return next((epochs for epochs in range(1, MAX_EPOCHS)
                 if seconds_an_image(times, bins, epochs, ahead)
                 < epochs * times['computed']), None)


def measure(args):
    """Seconds an image of each kind, in each round."""
    ways = Ways(PAIRS['cifar10'], args.device, args.batch)
    bank = ways.bank()
    steps = dict(
        published=(ways.published(), 1),
        computed=(runner_iteration(ways, ways.fixed_time(), args.batch), 1),
        entry=(bank.fill, 2),  # each image, and mirrored
        drawn=(lambda: [bank.iterate() for _ in range(3)], 3))
    seconds = {name: [] for name in steps}
    for index in range(args.rounds + 1):
        for name, (call, count) in steps.items():
            start = time.perf_counter()
            call()
            if args.device == 'cuda':
                ways.torch.cuda.synchronize()
            if index:
                seconds[name].append(
                    (time.perf_counter() - start) / count / args.batch)
    return seconds


def main(argv=None):
    args = parse_args(argv)
    if args.json:
        args.json = os.path.abspath(args.json)
    os.chdir(ROOT)
    from rich.console import Console
    from rich.table import Table
    seconds = measure(args)
    times = {name: float(np.median(values))
             for name, values in seconds.items()}
    report = dict(seconds_an_image=times, bins=[], batch=args.batch,
                  rounds=args.rounds, device=args.device,
                  versions=versions())
    table = Table('bins k', 'filled', 'pays from epoch', *(
        f'{epochs} epochs, times without (published)'
        for epochs in args.epochs))
    for bins in BINS:
        for ahead in (False, True):
            row = dict(bins=bins, ahead=ahead,
                       pays_from_epoch=pays_from(times, bins, ahead),
                       times={})
            for epochs in args.epochs:
                took = seconds_an_image(times, bins, epochs, ahead)
                row['times'][epochs] = dict(
                    without=round(epochs * times['computed'] / took, 2),
                    published=round(epochs * times['published'] / took, 2))
            report['bins'].append(row)
            table.add_row(
                str(bins), 'ahead' if ahead else 'while training',
                str(row['pays_from_epoch']), *(
                    '{without} ({published})'.format(**one)
                    for one in row['times'].values()))
    Console().print(', '.join(f'{name} {1e3 * value:.3g} ms'
                              for name, value in times.items()))
    Console().print(table)
    if args.json:
        Path(args.json).write_text(json.dumps(report, indent=1))
    return report


if __name__ == '__main__':
    main()
