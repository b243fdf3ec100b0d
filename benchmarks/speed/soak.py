"""A small real training, for hours, while things go wrong.

Stage 1 of the digits with a policy, teacher features that are computed or
drawn from a bank, one worker that loads, batches of 2 to 32 images. It runs in
sessions in one process; a fault ends most of them (an interrupt, a killed
worker, NaN weights, an image that is broken, a folder that is not there), and
the next one resumes. After each session it is noted what the process and its
children hold.

A quantity is `flat` if, behind the warm-up, the upper 95 % bound of its slope
is at most what is allowed an hour; it `grows` if the lower bound is above it;
it is `not decided` otherwise. MMEngine keeps the logger of every run in a
process: these are put away after each session.
"""
import argparse
import json
import os
import tempfile
import time
from collections import Counter

from benchmarks.lib.plan import ROOT
from benchmarks.lib.slope import slope
from benchmarks.lib.versions import versions
from benchmarks.speed.resources import QUANTITIES, Resources

# a rise an hour; of memory as a part of its mean, of the others as it is
ALLOWED = dict(memory_mib=0.01, descriptors=0.5, shared_mib=1.,
               shared_files=0.5, threads=0.5, children=0.5)


def parse_args(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--minutes', type=float, default=120.,
                        help='how long, behind a first session (default: '
                        '%(default)s)')
    parser.add_argument('--steps', type=int, default=60,
                        help='of a session (default: %(default)s)')
    parser.add_argument('--warm-up', type=float, default=0.2,
                        help='part of the time before the slopes begin '
                        '(default: %(default)s)')
    parser.add_argument('--json', help='file for the figures')
    parser.add_argument('--picture', help='file for a picture of the series')
    args = parser.parse_args(argv)
    if args.minutes <= 0:
        parser.error(f'--minutes is {args.minutes:g}, expected more than 0')
    if args.steps < 6:
        parser.error(f'--steps is {args.steps}, expected 6 or more: a fault '
                     'comes between two checkpoints')
    if not 0 <= args.warm_up < 1:
        parser.error(f'--warm-up is {args.warm_up:g}, expected 0 to 1')
    return args


def verdict(name, times, values, warm_up):
    """Whether a quantity is flat, by the rule above.

    Args:
        name (str): One of :data:`QUANTITIES`.
        times (Sequence[float]): Hours.
        values (Sequence[float]): What was held.
        warm_up (float): The part of the time that is left out.

    Returns:
        dict: ``verdict``, the slope an hour with its bounds, and what is
        ``allowed``.
    """
    begin = times[0] + warm_up * (times[-1] - times[0])
    kept = [(t, value) for t, value in zip(times, values) if t >= begin]
    if len(kept) < 4:
        return dict(verdict='not decided', values=len(kept))
    line = slope(*zip(*kept))
    allowed = ALLOWED[name] * (line['mean'] if name == 'memory_mib' else 1)
    found = 'flat' if line['high'] <= allowed else \
        'grows' if line['low'] > allowed else 'not decided'
    return dict(verdict=found, allowed=allowed, values=len(kept), **line)


def soak(args, folder):
    """Sessions until the time is over.

    What is found is kept in ``args.json`` each time that all faults have been
    through.

    Returns:
        dict: The report.
    """
    from benchmarks.speed.soak_job import FAULTS, JOBS, Job, quiet
    quiet()
    resources, job = Resources(), Job(folder, args.steps)
    job.session(JOBS[0], 'none')  # imports what is needed
    job.sessions, job.trained, start = 0, 0, time.time()
    series = {name: [] for name in ('hours', *QUANTITIES)}
    ends = Counter()
    while True:
        if job.sessions % (len(FAULTS) * len(JOBS)) == 0:
            job.restart()
            if job.sessions and args.json:
                write_json(report(args, series, ends, job.trained), args.json)
        fault = FAULTS[job.sessions // len(JOBS) % len(FAULTS)]
        kind = JOBS[job.sessions % len(JOBS)]
        ends[f'{fault}: {job.session(kind, fault)}'] += 1
        now = resources.now()
        series['hours'].append((time.time() - start) / 3600)
        for name in QUANTITIES:
            series[name].append(round(now[name], 2))
        if series['hours'][-1] * 60 >= args.minutes:
            return report(args, series, ends, job.trained)


def report(args, series, ends, steps):
    """What was found.

    Args:
        args (Namespace): Of the command line.
        series (dict[str, list]): Of each quantity, a value for each session.
        ends (dict[str, int]): How many sessions ended how, by fault.
        steps (int): That were trained.

    Returns:
        dict: It, with the verdicts.
    """
    return dict(
        verdicts={name: verdict(name, series['hours'], series[name],
                                args.warm_up) for name in QUANTITIES},
        sessions=len(series['hours']), steps=steps, ends=dict(ends),
        minutes=args.minutes, warm_up=args.warm_up, series=series,
        versions=versions())


def write_json(found, path):
    """Put a report in the place of the one before."""
    from repfusion_mm.engine.resuming.atomic_write import write_atomically
    write_atomically(path, json.dumps(found).encode())


def main(argv=None):
    args = parse_args(argv)
    for name in ('json', 'picture'):
        if getattr(args, name):
            setattr(args, name, os.path.abspath(getattr(args, name)))
    os.chdir(ROOT)
    os.environ['HF_HUB_OFFLINE'] = '1'
    import torch
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        found = soak(args, folder)
    _show(found)
    if args.json:
        write_json(found, args.json)
    if args.picture:
        _draw(found, args.picture)
    return found


def _show(report):
    from rich.console import Console
    from rich.table import Table
    table = Table('quantity', 'mean', 'rise an hour', 'allowed', 'verdict',
                  title=f'{report["sessions"]} sessions')
    for name, found in report['verdicts'].items():
        table.add_row(
            name, *('{mean:.1f}|{slope:+.2f} ({low:+.2f} to {high:+.2f})|'
                    '{allowed:.2f}'.format(**found).split('|')
                    if 'slope' in found else ('', '', '')), found['verdict'])
    Console().print(table)
    for name, count in sorted(report['ends'].items()):
        Console().print(f'{name}: {count}')


def _draw(report, path):
    import matplotlib
    matplotlib.use('Agg')
    from matplotlib import pyplot as plt
    figure, axes = plt.subplots(len(QUANTITIES), sharex=True,
                                figsize=(7, 9), layout='constrained')
    hours = report['series']['hours']
    for name, axis in zip(QUANTITIES, axes):
        axis.plot(hours, report['series'][name], '.', markersize=2)
        axis.set_ylabel(name)
        axis.axvline(hours[0] + report['warm_up'] * (hours[-1] - hours[0]),
                     color='grey', linewidth=0.5)
    axes[-1].set_xlabel('hours')
    figure.savefig(path, dpi=110)
    plt.close(figure)


if __name__ == '__main__':
    main()
