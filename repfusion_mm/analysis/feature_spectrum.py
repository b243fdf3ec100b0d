"""How many directions z(t) uses, over t."""
from typing import Any, Callable, Dict, List, Sequence

import numpy as np
import torch
from torch import Tensor

from repfusion_mm.models.losses.pooled import pooled

from .label_free import effective_rank, rank_of
from .look import features_at
from .looked_images import LookedImages


@torch.no_grad()
def spectra_over_time(teacher: Any,
                      looked: LookedImages,
                      timesteps: Sequence[int],
                      draws: int = 3,
                      device: Any = 'cpu',
                      progress: Callable = iter) -> List[dict]:
    """Singular values and effective rank of the pooled features, over t.

    The images are dealt into parts that share none, each of which is
    measured: their spread is that of drawing other images. A rank depends on
    how many images there are, so that only ranks of as many can be compared.

    Args:
        teacher (nn.Module): With its weights; all its taps are looked at.
        looked (LookedImages): One view of each image, in any order.
        timesteps (Sequence[int]): The time steps.
        draws (int): Parts. Defaults to 3.
        device (torch.device): The teacher's. Defaults to the CPU.
        progress (Callable): Wraps the time steps, to show progress.

    Returns:
        list[dict]: For each tap and time step ``tap``, ``t``, ``images`` of
        a part and ``channels``, and what :func:`spectrum` says, as means
        over the parts, with ``std`` of the ranks.

    Raises:
        ValueError: If a part has less than 2 images.

    Source: Garrido et al., "RankMe", ICML 2023.
    """
    count = len(looked.indices) // draws
    if count < 2:
        raise ValueError(f'{len(looked.indices)} images are too few for '
                         f'{draws} draws of at least 2')
    rows: Dict[str, List[dict]] = {tap: [] for tap in teacher.feature_shapes}
    for t in progress(timesteps):
        found = features_at(teacher, looked, t, list(rows), pooled,
                            device=device)
        for tap, features in found.items():
            parts = [spectrum(features[draw * count:(draw + 1) * count, 0])
                     for draw in range(draws)]
            row = dict(tap=tap, t=t, images=count, channels=features.size(-1))
            for name in parts[0]:
                values = np.array([part[name] for part in parts])
                row[name] = values.mean(0).tolist()
                if values.ndim == 1:
                    row[f'{name}_std'] = float(values.std(ddof=1)) \
                        if draws > 1 else None
            rows[tap].append(row)
    return [row for one in rows.values() for row in one]


def spectrum(features: Tensor) -> dict:
    """Of the features of some images.

    Args:
        features (Tensor): (N, C).

    Returns:
        dict: ``rank``, the :func:`effective_rank`; ``centred_rank``, the
        same of the features minus their mean, which is alike in all images
        and tells none from another; ``singular_values`` of these, as shares
        of their sum, descending.
    """
    features = features.double().cpu()
    values = torch.linalg.svdvals(features - features.mean(0))
    return dict(rank=effective_rank(features), centred_rank=rank_of(values),
                singular_values=(values / values.sum().clamp(
                    min=1e-300)).tolist())
