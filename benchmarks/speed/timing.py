"""Timing steps, and comparing what they took."""
import time

import numpy as np


def turn(ways, step, count):
    """Seconds a step, of so many between two waits for the device."""
    start = time.perf_counter()
    for _ in range(count):
        step()
    if ways.device == 'cuda':
        ways.torch.cuda.synchronize()
    return (time.perf_counter() - start) / count


def steps_in_turn(ways, seconds):
    """How many steps that take so long are timed together.

    A GPU works while the next step is prepared, which waiting for every
    step would hide: there they fill a fifth of a second.
    """
    if ways.device == 'cpu':
        return 1
    return min(max(round(0.2 / seconds), 1), 20)


def ratio(one, other):
    """Geometric mean of paired ratios, with a 95 percent interval."""
    from scipy import stats
    logs = np.log(np.array(one) / np.array(other))
    low, high = stats.ttest_1samp(logs, 0).confidence_interval() \
        if len(logs) > 1 else (np.nan, np.nan)
    return [round(float(np.exp(x)), 3) for x in (logs.mean(), low, high)]
