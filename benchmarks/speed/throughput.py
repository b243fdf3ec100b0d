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
import gc
import json
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from benchmarks.lib.plan import ROOT, Plan
from benchmarks.lib.versions import versions
from benchmarks.speed.pairs import PAIRS
from benchmarks.speed.switch_search import search, search_table
from benchmarks.speed.timing import ratio, steps_in_turn, turn
from benchmarks.speed.ways import STEPS, WAYS, Ways

# relative difference of each loss from the published one's: of our model as
# it is, and with the switches, bfloat16 among them
TOLERANCE, SWITCHED_TOLERANCE = 1e-4, 0.05


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
    parser.add_argument('--keep', help='folder for what was measured so far: '
                        'a run that was stopped goes on')
    parser.add_argument('--memory-of', choices=WAYS, help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def keeper(args):
    """Runs the parts of the work, each once where ``--keep`` names a folder.

    Returns:
        Callable: Takes a name, what else the part depends on, and the part.
    """
    if args.keep is None:
        return lambda name, inputs, run: run()
    plan = Plan(args.keep)
    common = [args.device, str(args.batch), str(args.rounds)]
    return lambda name, inputs, run: plan.once(
        name, name, [*common, json.dumps(inputs)], run)[0]


def measure(ways, rounds, warmup):
    """Seconds a step of each way in each round, in turn."""
    steps = {way: getattr(ways, way)() for way in (*ways.names, 'policy')}
    steps = {way: step for way, step in steps.items() if step}
    seconds, counts = {way: [] for way in steps}, dict.fromkeys(steps, 1)
    for index in range(warmup + rounds):
        for way, step in steps.items():
            took = turn(ways, step, counts[way])
            if index < warmup:
                counts[way] = steps_in_turn(ways, took)
            else:
                seconds[way].append(took / STEPS.get(way, 1))
    return seconds


def peak_memory(pair, args, ways, switches):
    """Peak memory of each way, from a process of its own, in MiB.

    On a GPU all at once: what each allocates there is counted by itself.
    """
    def one(way):
        done = subprocess.run(
            [sys.executable, '-m', 'benchmarks.speed.throughput', '--pairs',
             pair, '--device', args.device, '--batch', str(args.batch),
             '--memory-of', way, '--switches', json.dumps(switches)],
            capture_output=True, text=True, cwd=ROOT)
        if done.returncode:
            raise RuntimeError(f'{pair}: the process that measures the '
                               f'memory of {way} failed:\n'
                               + done.stderr[-3000:])
        return float(done.stdout.strip().splitlines()[-1])

    at_once = len(ways) if args.device == 'cuda' else 1
    with ThreadPoolExecutor(at_once) as pool:
        return dict(zip(ways, pool.map(one, ways)))


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
            step()  # cuDNN tries what is fastest, in memory of its own
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


def main(argv=None):
    args = parse_args(argv)
    for name in ('json', 'keep'):
        if getattr(args, name):
            setattr(args, name, os.path.abspath(getattr(args, name)))
    os.chdir(ROOT)
    if args.memory_of:
        print_memory(args)
        return None
    from rich.console import Console
    report = dict(pairs={}, batch=args.batch, rounds=args.rounds,
                  device=args.device, versions=versions())
    for pair in args.pairs:
        figures = report['pairs'][pair] = measure_pair(pair, args)
        if 'search' in figures:
            Console().print(search_table(pair, figures['search']))
        Console().print(ways_table(pair, figures))
        print('losses differ from the published ones by at most '
              f'{figures["largest_loss_difference"]:.1e}, with the switches '
              f'{figures["largest_loss_difference_switched"]:.1e}')
        if 'policy_share' in figures:
            print('the policy takes {:.2%} ({:.2%} to {:.2%}) of train_step'
                  .format(*figures['policy_share']))
        if args.json:
            Path(args.json).write_text(json.dumps(report, indent=1))
    return report


def measure_pair(pair, args):
    """All figures of a pair."""
    keep, figures = keeper(args), {}
    figures['largest_loss_difference'] = keep(
        f'{pair}_losses', [], lambda: same_losses(pair, args, None,
                                                  TOLERANCE))
    switches = args.switches
    if switches is None:
        switches, figures['search'] = search(
            PAIRS[pair], args.device, args.batch,
            lambda name, inputs, run: keep(f'{pair}_{name}', inputs, run))
    figures['switches'] = switches
    figures['largest_loss_difference_switched'] = keep(
        f'{pair}_switched_losses', switches, lambda: same_losses(
            pair, args, switches, SWITCHED_TOLERANCE))
    seconds = keep(f'{pair}_seconds', switches, lambda: measure(
        Ways(PAIRS[pair], args.device, args.batch, switches=switches),
        args.rounds, args.warmup))
    ways = [way for way in WAYS if way in seconds]
    memory = keep(f'{pair}_memory', switches, lambda: peak_memory(
        pair, args, ways, switches))
    if 'policy' in seconds:
        figures['policy_share'] = ratio(seconds['policy'],
                                        seconds['train_step'])
    for way in ways:
        figures[way] = dict(
            images_per_second=round(
                args.batch / float(np.median(seconds[way])), 2),
            times_published=ratio(seconds['published'], seconds[way]),
            of_limit=ratio(seconds['limit'], seconds[way]),
            peak_memory=memory[way])
    return figures


def ways_table(pair, figures):
    """Speed and memory of each way, as a table."""
    from rich.table import Table
    table = Table('way', 'images a second', 'times published (95 %)',
                  'of the limit (95 %)', 'peak memory, MiB', title=pair)
    for way in WAYS:
        if way in figures:
            row = figures[way]
            table.add_row(
                way, str(row['images_per_second']),
                '{:.2f} ({:.2f} to {:.2f})'.format(*row['times_published']),
                '{:.2f} ({:.2f} to {:.2f})'.format(*row['of_limit']),
                str(row['peak_memory']))
    return table


if __name__ == '__main__':
    main()
