"""Feature maps as pictures: three principal components as red, green, blue."""
from typing import List, Sequence

import numpy as np
import torch
from torch import Tensor

OUTLIERS = 1.  # percent at either end that are cut off


def pca_maps(features: Sequence[Tensor]) -> List[np.ndarray]:
    """Draw some maps of the same images so that they can be compared.

    The components of each are those of all its images and positions. They
    have no order of colours of their own, so that each is turned, within its
    three components, to be as much like the one before as can be.

    Args:
        features (Sequence[Tensor]): Such as z(t) at several t, each of N
            images, (N, C, h, w), C and h and w of one's own.

    Returns:
        list[np.ndarray]: Of each, RGB, uint8, (N, h, w, 3).

    Raises:
        ValueError: If one has no positions.
    """
    pictures, before = [], None
    for feature in features:
        if feature.dim() != 4:
            raise ValueError(
                'a map of features is (N, C, h, w), but this one is of shape '
                f'{tuple(feature.shape)}: tap a module that gives maps')
        scores = principal_scores(feature)
        if before is not None:
            scores = _turned(scores, _as_large(before, scores.shape[1:3]))
        before = scores
        pictures.append(_as_pixels(scores))
    return pictures


def principal_scores(feature: Tensor) -> Tensor:
    """The first three principal components of a map, at each position.

    Args:
        feature (Tensor): (N, C, h, w).

    Returns:
        Tensor: Float64, (N, h, w, 3); those that C does not have are 0.
    """
    from sklearn.decomposition import PCA
    rows = feature.double().cpu().permute(0, 2, 3, 1)
    flat = rows.flatten(0, 2).numpy()
    number = min(3, *flat.shape)
    scores = np.zeros((len(flat), 3))
    scores[:, :number] = PCA(number, svd_solver='full').fit_transform(flat)
    return torch.from_numpy(scores).view(*rows.shape[:3], 3)


def _turned(scores: Tensor, before: Tensor) -> Tensor:
    """Turned (or mirrored) to be most like others: Procrustes."""
    from scipy.linalg import orthogonal_procrustes
    turn, _ = orthogonal_procrustes(scores.flatten(0, 2).numpy(),
                                    before.flatten(0, 2).numpy())
    return scores @ torch.from_numpy(turn)


def _as_large(scores: Tensor, size: Sequence[int]) -> Tensor:
    return torch.nn.functional.interpolate(
        scores.permute(0, 3, 1, 2), tuple(size), mode='bilinear',
        align_corners=False).permute(0, 2, 3, 1)


def _as_pixels(scores: Tensor) -> np.ndarray:
    low, high = np.percentile(scores.flatten(0, 2).numpy(),
                              (OUTLIERS, 100 - OUTLIERS), axis=0)
    shares = (scores.numpy() - low) / np.maximum(high - low, 1e-12)
    return (255 * shares.clip(0, 1)).round().astype(np.uint8)
