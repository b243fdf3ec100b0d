"""Differences between two arms that saw the same seeds."""
import numpy as np
from scipy import stats


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
        return round(float(gain.mean()), 2), None
    interval = stats.ttest_1samp(gain, 0).confidence_interval()
    return round(float(gain.mean()), 2), [round(float(end), 2)
                                          for end in interval]


def lower_bound(one, other):
    """One-sided 95 percent bound of one minus the other.

    Args:
        one (Sequence[float]): A figure for each seed.
        other (Sequence[float]): Alike, of the same seeds.

    Returns:
        float: What the mean difference is above, by Student's t over the
        seeds; None for a single seed.
    """
    gain = np.subtract(one, other)
    if len(gain) < 2:
        return None
    margin = stats.t.ppf(0.95, len(gain) - 1) * stats.sem(gain)
    return round(float(gain.mean() - margin), 2)


def interval_text(interval):
    """An interval as it is printed."""
    return '' if interval is None else \
        f'{interval[0]:+.1f} to {interval[1]:+.1f}'
