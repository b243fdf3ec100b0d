"""How good features are, with labels and without."""
from typing import Dict, Optional

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from repfusion_mm.models.rewards.targets import Targets

from .label_free import effective_rank
from .look import held_out

NEIGHBOURS = 20


def feature_quality(features: Tensor,
                    targets: Optional[Targets] = None,
                    others: Optional[Tensor] = None) -> Dict[str, float]:
    """All that can be said of the features of some images.

    Args:
        features (Tensor): Of N images at P positions, (N, P, C).
        targets (Targets, optional): What their labels say. Defaults to None.
        others (Tensor, optional): Features of other views of the same images,
            alike. Defaults to None.

    Returns:
        dict[str, float]: ``rank``, the :func:`effective_rank`; with labels
        ``probe``, in percent, what a ridge regression predicts of images that
        it was not fitted to, and of classes and masks ``knn``, the
        :func:`knn_accuracy`; without labels ``uniformity`` and, where there
        are other views, ``alignment``.
    """
    features = features.detach().double().cpu()
    pooled = features.mean(1)
    found = dict(rank=effective_rank(pooled))
    if targets is None:
        found['uniformity'] = uniformity(pooled)
        if others is not None:
            found['alignment'] = alignment(
                pooled, others.detach().double().cpu().mean(1))
        return found
    # as a look does at z(t): each image by a fit that has not seen it
    centred = features - features.mean((0, 1))
    scaled = centred / centred.std((0, 1)).clamp(min=1e-9)
    errors = held_out(scaled[:, None], targets).errors
    found['probe'] = 100 * float(targets.score(errors).mean())
    if targets.kind in ('class', 'mask'):
        classes = targets.values.argmax(2).masked_fill(~targets.mask, -1)
        found['knn'] = knn_accuracy(features, classes)
    return found


def knn_accuracy(features: Tensor, classes: Tensor,
                 neighbours: int = NEIGHBOURS) -> float:
    """How often the nearest neighbours in other images have the same class.

    By cosine similarity and majority, one half of the images by the other and
    the other way round; the halves are the same each time.

    Args:
        features (Tensor): (N, P, C).
        classes (Tensor): Long, (N, P), -1 where unknown.
        neighbours (int): Of each, but no more than a tenth of the positions
            that are asked. Defaults to 20.

    Returns:
        float: In percent, over all known positions.

    Source: Wu et al., "Unsupervised Feature Learning via Non-Parametric
    Instance Discrimination", CVPR 2018, section 3.4.
    """
    order = np.random.default_rng(0).permutation(len(features))
    halves = []
    for half in np.array_split(order, 2):
        known = classes[half].flatten() >= 0
        found = features[half].flatten(0, 1)[known]
        halves.append((found.numpy(), classes[half].flatten()[known].numpy()))
    right = []
    for (rows, labels), (others, theirs) in (halves, halves[::-1]):
        if not len(rows) or not len(others):
            continue
        right.append(knn_predictions(others, theirs, rows, neighbours)
                     == labels)
    return 100 * float(np.concatenate(right).mean()) if right else 0.


def knn_predictions(known: np.ndarray, labels: np.ndarray,
                    asked: np.ndarray,
                    neighbours: int = NEIGHBOURS) -> np.ndarray:
    """The most frequent label of the nearest neighbours.

    By cosine similarity.

    Args:
        known (np.ndarray): Features of N images, (N, C).
        labels (np.ndarray): Theirs, (N,).
        asked (np.ndarray): Features of M images, (M, C).
        neighbours (int): Of each, but no more than a tenth of the N. Defaults
            to 20.

    Returns:
        np.ndarray: A label for each, (M,).
    """
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.preprocessing import normalize
    classifier = KNeighborsClassifier(
        min(neighbours, max(1, len(known) // 10)))
    classifier.fit(normalize(known), labels)
    return np.asarray(classifier.predict(normalize(asked)))


def alignment(features: Tensor, others: Tensor) -> float:
    """How far apart two views of an image are; less is better.

    Args:
        features (Tensor): (N, C).
        others (Tensor): Of other views of the same images, (N, C).

    Returns:
        float: Mean squared distance on the unit sphere, 0 to 4.

    Source: Wang and Isola, "Understanding Contrastive Representation Learning
    through Alignment and Uniformity on the Hypersphere", ICML 2020.
    """
    one, other = F.normalize(features, dim=1), F.normalize(others, dim=1)
    return float((one - other).square().sum(1).mean())


def uniformity(features: Tensor) -> float:
    """How evenly the images lie on the unit sphere; less is better.

    Args:
        features (Tensor): (N, C), of at least 2 images.

    Returns:
        float: Log of the mean Gaussian potential of all pairs, -8 to 0.

    Source: As of :func:`alignment`.
    """
    squares = torch.pdist(F.normalize(features, dim=1)).square()
    return float(torch.logsumexp(-2 * squares, 0) - np.log(len(squares)))
