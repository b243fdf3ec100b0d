"""How fast a quantity rises, and whether that can be told."""
from typing import Dict, Sequence

import numpy as np

BLOCKS = 12


def slope(times: Sequence[float], values: Sequence[float]) -> Dict:
    """The slope of a straight line, with its 95 % interval.

    Values that follow each other closely are alike, so that they are averaged
    in blocks of equal numbers first, and the line is fitted to the blocks.

    Args:
        times (Sequence[float]): When each value was taken, rising.
        values (Sequence[float]): At least 4.

    Returns:
        dict: ``slope`` and its ``low`` and ``high`` bounds, by the unit of
        ``times``, and the ``mean`` of the values.
    """
    from scipy.stats import linregress, t
    if len(values) < 4:
        raise ValueError(f'{len(values)} values have no slope with an '
                         'interval; expected 4 or more')
    blocks = min(BLOCKS, len(values))
    x, y = (np.array([block.mean() for block in np.array_split(
        np.asarray(series, float), blocks)]) for series in (times, values))
    line = linregress(x, y)
    # no error where all values are the same, for which SciPy says NaN
    half = t.ppf(0.975, blocks - 2) * line.stderr if np.ptp(y) else 0.
    return dict(slope=float(line.slope), low=float(line.slope - half),
                high=float(line.slope + half), mean=float(np.mean(values)))
