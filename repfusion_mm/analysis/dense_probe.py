"""How much of masks and landmarks can be read from z(t), over t."""
from typing import Callable, List, Mapping, Optional, Tuple

import numpy as np
import torch
from torch import Tensor

from repfusion_mm.models.rewards.targets import Targets
from repfusion_mm.models.utils.ridge import ridge_fit

from .linear_probe import over_draws
from .look import held_out

Labelled = Tuple[Mapping[int, np.ndarray], Targets]


def dense_probe_over_time(train: Labelled,
                          test: Labelled,
                          labelled: Optional[int] = None,
                          seeds: int = 10,
                          progress: Callable = lambda timesteps: timesteps
                          ) -> List[dict]:
    """What a ridge regression reads at each time step, cell by cell.

    As a look does: the classes' shares of each cell of a coarse grid, or
    heatmaps of landmarks on it, by one regression for all cells, whose
    penalty is the best for training images that are left out.

    Args:
        train (tuple): Features by time step, (N, P, C), and their Targets.
        test (tuple): Likewise, to be predicted.
        labelled (int, optional): Training images that have labels, others for
            each seed but the same for each t. Defaults to None: all of them,
            once.
        seeds (int): Number of draws. Defaults to 10.
        progress (Callable): Wraps the time steps, to show progress.

    Returns:
        list[dict]: ``t``, and as ``accuracy`` the share of cells, or of
        visible landmarks, that are told right, in percent, as of
        :meth:`Targets.score`; ``std_error`` and ``per_seed``.

    Raises:
        ValueError: If there are fewer training images.
    """
    count = len(train[1].values)
    if labelled is not None and labelled > count:
        raise ValueError(f'`labels_per_class` is {labelled}, but there are '
                         f'{count} labelled training images')
    draws = [torch.arange(count)] if labelled is None else [
        torch.from_numpy(np.random.default_rng(seed).permutation(count)
                         [:labelled]) for seed in range(seeds)]
    rows = []
    for t in progress(list(train[0])):
        known, asked = (torch.from_numpy(one[0][t]) for one in (train, test))
        rows.append(dict(t=t, **over_draws('accuracy', [
            100 * float(ridge_scores(
                known[draw], of_images(train[1], draw), asked, test[1]
            ).mean()) for draw in draws])))
    return rows


def ridge_scores(known: Tensor, targets: Targets, asked: Tensor,
                 wanted: Targets) -> Tensor:
    """How right a regression on some images is about others.

    Args:
        known (Tensor): Features to learn from, (N, P, C).
        targets (Targets): Of them.
        asked (Tensor): Features to be read, (M, P, C).
        wanted (Targets): Of these.

    Returns:
        Tensor: 0 to 1, float64, (M,).
    """
    ridge = held_out(known[:, None], targets).ridge
    coefficients, intercept = ridge_fit(known, targets.values, ridge,
                                        targets.mask)
    predicted = asked.double() @ coefficients + intercept
    return wanted.score(wanted.values - predicted)


def of_images(targets: Targets, images: Tensor) -> Targets:
    """The targets of some of the images.

    Args:
        targets (Targets): Of all.
        images (Tensor): Their numbers, long, (N,).

    Returns:
        Targets: Of these.
    """
    return targets._replace(
        values=targets.values[images], mask=targets.mask[images],
        weight=targets.weight[images])
