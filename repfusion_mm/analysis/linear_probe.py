"""How much of the class can be read from z(t), over t."""
from typing import Callable, List, Mapping, Optional, Tuple

import numpy as np

from .feature_quality import knn_predictions


def probe_over_time(train: Tuple[Mapping[int, np.ndarray], np.ndarray],
                    test: Tuple[Mapping[int, np.ndarray], np.ndarray],
                    labels_per_class: Optional[int] = None,
                    seeds: int = 10,
                    progress: Callable = lambda timesteps: timesteps
                    ) -> List[dict]:
    """Accuracy of a linear probe and of nearest neighbours at each time step.

    A logistic regression on standardised features, and the most frequent
    class of the :func:`knn_predictions`, both from scikit-learn.

    Args:
        train (tuple): Pooled features by time step, (N, C), and labels,
            (N,).
        test (tuple): Likewise, to be predicted.
        labels_per_class (int, optional): The probe is trained on so many
            images of each class, others for each seed but the same for each
            t. Defaults to None: all of them, once.
        seeds (int): Number of draws. Defaults to 10.
        progress (Callable): Wraps the time steps, to show progress.

    Returns:
        list[dict]: ``t``, ``accuracy`` (mean, percent), ``std_error`` (of
        that mean over the draws) and ``per_seed`` for each time step, and the
        same of the neighbours, ``knn``, ``knn_std_error`` and
        ``knn_per_seed``.

    Source: Alain and Bengio, "Understanding intermediate layers using linear
    classifier probes", 2016.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    labels = train[1]
    draws = label_draws(labels, labels_per_class, seeds)
    rows = []
    for t in progress(list(train[0])):
        known, asked = train[0][t], test[0][t]
        linear, neighbours = [], []
        for draw in draws:
            probe = make_pipeline(StandardScaler(), LogisticRegression(
                max_iter=1000)).fit(known[draw], labels[draw])
            linear.append(100 * probe.score(asked, test[1]))
            found = knn_predictions(known[draw], labels[draw], asked)
            neighbours.append(100 * float((found == test[1]).mean()))
        rows.append(dict(t=t, **over_draws('accuracy', linear),
                         **over_draws('knn', neighbours)))
    return rows


def over_draws(name: str, values: List[float]) -> dict:
    """Mean, standard error and all values of some draws.

    Args:
        name (str): Of the mean; those of another than ``'accuracy'`` have it
            in front.
        values (list[float]): One of each draw.

    Returns:
        dict: ``<name>``, ``std_error`` (None of one draw), ``per_seed``.
    """
    prefix = '' if name == 'accuracy' else f'{name}_'
    error = float(np.std(values, ddof=1) / len(values)**0.5) \
        if len(values) > 1 else None
    return {name: float(np.mean(values)), f'{prefix}std_error': error,
            f'{prefix}per_seed': values}


def label_draws(labels: np.ndarray, labels_per_class: Optional[int],
                seeds: int) -> List[np.ndarray]:
    """Which images each draw has the labels of.

    Args:
        labels (np.ndarray): (N,).
        labels_per_class (int, optional): Images of each class; None is all of
            them, once.
        seeds (int): Number of draws.

    Returns:
        list[np.ndarray]: Their numbers.

    Raises:
        ValueError: If a class has fewer images.
    """
    if labels_per_class is None:
        return [np.arange(len(labels))]
    fewest = int(np.unique(labels, return_counts=True)[1].min())
    if fewest < labels_per_class:
        raise ValueError(f'`labels_per_class` is {labels_per_class}, but a '
                         f'class has only {fewest} images')
    return [_draw(labels, labels_per_class, seed) for seed in range(seeds)]


def _draw(labels: np.ndarray, labels_per_class: int,
          seed: int) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return np.concatenate([
        generator.choice(np.flatnonzero(labels == label), labels_per_class,
                         replace=False) for label in np.unique(labels)])
