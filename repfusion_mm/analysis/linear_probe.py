"""How much of the class can be read from z(t), over t."""
from typing import (
    Any,
    Callable,
    Dict,
    Iterable,
    List,
    Optional,
    Sequence,
    Tuple,
)

import numpy as np
import torch

from repfusion_mm.models.labels import class_labels, labelled_mask
from repfusion_mm.models.utils.raw_images import build_raw_image


@torch.no_grad()
def pooled_features(teacher: Any,
                    dataloader: Iterable[dict],
                    data_preprocessor: Any,
                    timesteps: Sequence[int],
                    tap: Optional[str] = None,
                    channel_order: str = 'rgb',
                    raw_image: Optional[dict] = None
                    ) -> Tuple[Dict[int, np.ndarray], np.ndarray]:
    """Globally pooled teacher features of a labelled data set.

    Args:
        teacher (nn.Module): With its weights.
        dataloader (Iterable[dict]): Batches as the Runner has them, with
            ``gt_label``; images without a label are left out.
        data_preprocessor (nn.Module): Of the batches.
        timesteps (Sequence[int]): The time steps.
        tap (str, optional): Defaults to the teacher's first one.
        channel_order (str): As in :class:`RepFusion`. Defaults to ``'rgb'``.
        raw_image (dict, optional): Likewise. Defaults to None.

    Returns:
        tuple: Features (N, C) by time step, and the labels (N,).
    """
    tap = tap or next(iter(teacher.feature_shapes))
    if not 0 <= min(timesteps) <= max(timesteps) < teacher.num_timesteps:
        raise ValueError(f'`timesteps` is {list(timesteps)}, but the teacher '
                         f'knows 0 to {teacher.num_timesteps - 1}')
    to_raw = build_raw_image(raw_image, channel_order).to(
        data_preprocessor.device)
    features: Dict[int, list] = {t: [] for t in timesteps}
    labels = []
    for batch in dataloader:
        batch = data_preprocessor(batch)
        images = to_raw(batch['inputs'], data_preprocessor)
        batch_labels = class_labels(batch['data_samples'])
        known = labelled_mask(batch['data_samples'])
        if not known.any():
            continue
        labels.append(batch_labels[known].cpu().numpy())
        for t in timesteps:
            steps = torch.full((int(known.sum()), ), t, dtype=torch.long,
                               device=images.device)
            z = teacher(images[known], steps)[tap]
            features[t].append(z.flatten(2).mean(2).cpu().numpy())
    if not labels:
        raise ValueError('no image of the data set has a label to probe for')
    return ({t: np.concatenate(chunks) for t, chunks in features.items()},
            np.concatenate(labels))


def probe_over_time(train: Tuple[Dict[int, np.ndarray], np.ndarray],
                    test: Tuple[Dict[int, np.ndarray], np.ndarray],
                    labels_per_class: Optional[int] = None,
                    seeds: int = 10,
                    progress: Callable = lambda timesteps: timesteps
                    ) -> List[dict]:
    """Accuracy of a linear probe at each time step.

    A logistic regression on standardised features, from scikit-learn.

    Args:
        train (tuple): Features by time step and labels, as
            :func:`pooled_features` gives them.
        test (tuple): Likewise, to be predicted.
        labels_per_class (int, optional): The probe is trained on so many
            images of each class, others for each seed but the same for each
            t. Defaults to None: all of them, once.
        seeds (int): Number of draws. Defaults to 10.
        progress (Callable): Wraps the time steps, to show progress.

    Returns:
        list[dict]: ``t``, ``accuracy`` (mean, percent), ``std_error`` (of
        that mean over the draws) and ``per_seed`` for each time step.

    Source: Alain and Bengio, "Understanding intermediate layers using linear
    classifier probes", 2016.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    labels = train[1]
    if labels_per_class is None:
        draws = [np.arange(len(labels))]
    else:
        draws = [_draw(labels, labels_per_class, seed)
                 for seed in range(seeds)]
    rows = []
    for t in progress(list(train[0])):
        accuracies = [
            100 * make_pipeline(StandardScaler(), LogisticRegression(
                max_iter=1000)).fit(train[0][t][draw], labels[draw]).score(
                    test[0][t], test[1]) for draw in draws
        ]
        error = float(np.std(accuracies, ddof=1) / len(draws)**0.5) \
            if len(draws) > 1 else None
        rows.append(dict(t=t, accuracy=float(np.mean(accuracies)),
                         std_error=error, per_seed=accuracies))
    return rows


def _draw(labels: np.ndarray, labels_per_class: int,
          seed: int) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return np.concatenate([
        generator.choice(np.flatnonzero(labels == label), labels_per_class,
                         replace=False) for label in np.unique(labels)])
