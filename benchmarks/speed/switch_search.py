"""Which dtype, memory format and compilation are the fastest on a device."""
import gc
import math

import numpy as np

from benchmarks.lib.versions import without_folders
from benchmarks.speed.timing import steps_in_turn, turn
from benchmarks.speed.ways import Ways

# a plainer candidate is taken where it is no slower than this: compiling
# costs memory and a long first step
NEARLY = 1.05


def search(pair, device, batch, keep=lambda name, inputs, run: run()):
    """The best switches for the bare teacher and the bare student.

    Each dtype in each memory format, then the best dtype in each, compiled.
    Of those that are nearly as fast as the fastest the first is taken.

    Args:
        pair (dict): Of ``PAIRS``.
        device (str): ``'cpu'`` or ``'cuda'``.
        batch (int): Images a step.
        keep (Callable): Of :func:`keeper`.

    Returns:
        tuple: The switches, and seconds a step of all that were tried, or
        the error of those that cannot be run here.
    """
    teacher = [None, 'bfloat16'] + ['float16'] * (device == 'cuda')
    # the figures of CPUs are of students in float32
    student = [None] + ['bfloat16', 'float16'] * (device == 'cuda')
    best, tried = {}, {}
    for part, key, dtypes in (('teacher', 'dtype', teacher),
                              ('student', 'amp', student)):

        def found(one, part=part):
            name = '_'.join(str(value) for value in one.values())
            return keep(f'{part}_{name}', one, lambda: try_switches(
                pair, device, batch, part, one))

        candidates = [{key: dtype, 'channels_last': channels_last}
                      for dtype in dtypes for channels_last in (False, True)]
        results = [found(one) for one in candidates]
        dtype = candidates[int(np.argmin(seconds_of(results)))][key]
        compiled = [{key: dtype, 'channels_last': channels_last,
                     'compile': True} for channels_last in (False, True)]
        candidates += compiled
        results += [found(one) for one in compiled]
        times = seconds_of(results)
        best[part] = next(one for one, time in zip(candidates, times)
                          if time <= NEARLY * min(times))
        tried[part] = [dict(one, **result)
                       for one, result in zip(candidates, results)]
    return best, tried


def try_switches(pair, device, batch, part, switches):
    """``seconds`` of a bare step, or the ``error`` that there was."""
    gc.collect()  # what was tried before
    try:
        ways = Ways(pair, device, batch, 'limit', {part: switches})
        return dict(seconds=round(fastest(ways, f'bare_{part}'), 6))
    except Exception as error:  # of any library: not for this machine
        if not any(switches.values()):
            raise
        return dict(error=without_folders(
            f'{type(error).__name__}: {error}')[:500])


def seconds_of(results):
    """Of each; infinitely many where there was an error."""
    return [result.get('seconds', math.inf) for result in results]


def fastest(ways, what):
    """Seconds of the fastest of six turns; of two where they are slow."""
    step, seconds, count = getattr(ways, what)(), [], 1
    while len(seconds) < 7 and (len(seconds) < 3 or sum(seconds[1:]) < 20):
        seconds.append(turn(ways, step, count))
        if len(seconds) == 2:
            count = steps_in_turn(ways, seconds[1])
    return min(seconds[1:])  # the first one compiles


def search_table(pair, tried):
    """What was tried, as a table."""
    from rich.table import Table
    table = Table('part', 'switches', 'ms a step', title=f'{pair}: search')
    for part, candidates in tried.items():
        for one in candidates:
            on = [f'{name}={value}' for name, value in one.items()
                  if value and name not in ('seconds', 'error')]
            table.add_row(part, ', '.join(on) or 'none',
                          f'{1e3 * one["seconds"]:.2f}' if 'seconds' in one
                          else one['error'])
    return table
