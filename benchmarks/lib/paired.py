"""Differences between two arms that saw the same seeds."""
from typing import NamedTuple

import numpy as np
from scipy import stats


class Criterion(NamedTuple):
    """What decides: a one-sided 95 percent bound of a paired difference.

    Attributes:
        of (str): The arm.
        over (tuple[str]): What it is compared with; of several the one with
            the best mean.
        above (float): The bound of (of - over) must lie above it; where
            lower is better, that of (over - of).
        relative (bool): Whether the difference counts in percent of the mean
            of what it is compared with. Defaults to False.
    """
    of: str
    over: tuple
    above: float
    relative: bool = False


def same_seeds(one, other, metric):
    """The figures of two arms of the seeds that both have.

    Args:
        one (dict): ``seeds`` and a figure for each of them.
        other (dict): Alike.
        metric (str): Name of the figures.

    Returns:
        list[list[float]]: Of the one and of the other, by seed; empty where
        they have none in common.
    """
    found = [dict(zip(row['seeds'], row[metric])) for row in (one, other)]
    both = sorted(found[0].keys() & found[1])
    return [[row[seed] for seed in both] for row in found]


def paired_difference(one, other):
    """Mean of one minus the other, with a 95 percent interval.

    Args:
        one (Sequence[float]): A figure for each seed.
        other (Sequence[float]): Alike, of the same seeds.

    Returns:
        tuple: The mean, and Student's t interval over the seeds, [low, high];
        None for a single seed, which says nothing of the spread.
    """
    gain = np.subtract(one, other)
    if len(gain) < 2:
        return round(float(gain.mean()), 4), None
    interval = stats.ttest_1samp(gain, 0).confidence_interval()
    # finer than is printed: what is rounded twice is rounded wrongly
    return round(float(gain.mean()), 4), [round(float(end), 4)
                                          for end in interval]


def lower_bound(one, other):
    """One-sided 95 percent bound of the mean of one minus the other.

    Args:
        one (Sequence[float]): A figure for each seed.
        other (Sequence[float]): Alike, of the same seeds.

    Returns:
        float, optional: By Student's t; None for a single seed.
    """
    gain = np.subtract(one, other)
    if len(gain) < 2:
        return None
    low = stats.ttest_1samp(gain, 0, alternative='greater'
                            ).confidence_interval().low
    return round(float(low), 4)


def interval_text(interval):
    """An interval as it is printed."""
    return '' if interval is None else \
        f'{interval[0]:+.1f} to {interval[1]:+.1f}'
