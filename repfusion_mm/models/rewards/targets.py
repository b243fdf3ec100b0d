"""What the labels of some images say, as targets of a regression."""
from typing import Any, NamedTuple, Optional, Sequence, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ..labels import (
    UNLABELLED_PIXEL,
    class_labels,
    multi_hot_labels,
    semantic_masks,
    visible_keypoints,
)
from .keypoint_reward import gaussian_heatmaps

GRID = 8  # at most so many cells of a map on each side, for a regression
SIGMA = 1.  # of a keypoint's Gaussian, in cells
NEAR = 0.05  # of the image's sides, the usual one


class Targets(NamedTuple):
    """Targets of M views of images, at P positions each.

    Attributes:
        kind (str): ``'class'``, ``'multi-label'``, ``'mask'`` or
            ``'keypoint'``.
        values (Tensor): Float64, (M, P, K): one-hot or multi-hot classes;
            the classes' shares of each cell of a coarse grid; or the
            keypoints' heatmaps on it.
        mask (Tensor): Bool, (M, P): the positions that have a label.
        weight (Tensor): Float64, (M, P, K): of the squared errors in what an
            image's are worth together.
        grid (tuple, optional): Height and width of the grid, P of them; None
            where features are averaged over all positions.
    """
    kind: str
    values: Tensor
    mask: Tensor
    weight: Tensor
    grid: Optional[Tuple[int, int]]

    def rows(self, feature: Tensor) -> Tensor:
        """A feature averaged over the grid's cells.

        Args:
            feature (Tensor): (M, C, h, w), or (M, C).

        Returns:
            Tensor: (M, P, C).
        """
        return grid_rows(feature, self.grid)

    def reward(self, errors: Tensor) -> Tensor:
        """What predictions with these errors are worth, at most 0.

        Minus the squared error: of the classes, summed; averaged over the
        cells; of keypoints relative to the heatmaps' own squares.

        Args:
            errors (Tensor): Targets minus predictions, (M, P, K).

        Returns:
            Tensor: (M,).
        """
        return -(self.weight * errors.square()).sum((1, 2))

    def worth(self, errors: Tensor, scale: Any = 1.) -> Tensor:
        """What a regression that makes these errors is worth, at most 0.

        Of classes the log-probability of the right one, by a softmax of the
        predictions times ``scale``: a squared error of few labels hardly
        tells time steps apart, and likes those that say little. Of all else
        the :meth:`reward`.

        Args:
            errors (Tensor): Targets minus predictions, (M, P, K).
            scale (float or Tensor): One, or one a view, (M,).

        Returns:
            Tensor: (M,); 0 where no class is right.
        """
        if self.kind != 'class':
            return self.reward(errors)
        scale = torch.as_tensor(scale, device=errors.device).view(-1, 1, 1)
        logits = (self.values - errors) * scale
        return (self.values * logits.log_softmax(2)).sum((1, 2))

    def score(self, errors: Tensor) -> Tensor:
        """How right predictions with these errors are, 0 to 1.

        The share of images or cells whose class is found, of classes that are
        told right (above or below one half), or of visible keypoints that are
        found within a twentieth of the image's sides of where they are
        (PCK@0.05).

        Args:
            errors (Tensor): Targets minus predictions, (M, P, K).

        Returns:
            Tensor: (M,).
        """
        predicted = self.values - errors
        if self.kind == 'multi-label':
            right = (predicted > 0.5) == (self.values > 0.5)
            return right.double().mean((1, 2))
        if self.kind == 'keypoint' and self.grid is not None:
            there = self.weight.sum(1) > 0
            distance = (_places(predicted, self.grid) -
                        _places(self.values, self.grid)).norm(dim=-1)
            right = there & (distance <= NEAR)
            return right.sum(1) / there.sum(1).clamp(min=1).double()
        right = (predicted.argmax(2) == self.values.argmax(2)) & self.mask
        return right.sum(1) / self.mask.sum(1).clamp(min=1).double()


def grid_rows(feature: Tensor, grid: Optional[Tuple[int, int]]) -> Tensor:
    """A feature averaged over the cells of a grid, (M, P, C)."""
    feature = feature.float()
    if feature.dim() == 2:
        return feature[:, None]
    if grid is None:
        return feature.flatten(2).mean(2)[:, None]
    return F.adaptive_avg_pool2d(feature, grid).flatten(2).transpose(1, 2)


def read_targets(data_samples: Sequence[Any],
                 image_size: Sequence[int],
                 feature_shape: Sequence[int],
                 ignore_index: int = UNLABELLED_PIXEL,
                 device: Any = 'cpu',
                 num_classes: Optional[int] = None,
                 most_cells: int = GRID) -> Targets:
    """The labels of data samples of mmpretrain, mmseg or mmpose.

    Args:
        data_samples (Sequence): M of them. Without ``num_classes`` all are
            labelled; what is not has no class, cell or keypoint otherwise.
        image_size (Sequence[int]): Height and width of the images.
        feature_shape (Sequence[int]): Of the tap that they are to be read
            from, (C, h, w) or (C,): a grid is no finer than the map.
        ignore_index (int): What unlabelled pixels hold. Defaults to 255.
        device (torch.device): Where the targets are to be. Defaults to the
            CPU.
        num_classes (int, optional): Defaults to None: those that are there.
        most_cells (int): Of the grid, on each side. Defaults to 8.

    Returns:
        Targets: Of the samples.

    Raises:
        ValueError: If they hold labels that cannot be read.
    """
    first = data_samples[0]
    grid = None if len(feature_shape) < 3 else (
        min(feature_shape[1], most_cells), min(feature_shape[2], most_cells))
    if first.get('gt_sem_seg') is not None:
        return _masks(data_samples, grid, ignore_index, device, num_classes)
    if type(first).__name__ == 'PoseDataSample':
        return _keypoints(data_samples, image_size, grid, device)
    if any(_is_multi(sample) for sample in data_samples):
        count = num_classes or max(
            _num_classes(sample) for sample in data_samples)
        hot, _ = multi_hot_labels(data_samples, count)
        kind = 'multi-label'
    else:
        labels = class_labels(data_samples)
        hot = F.one_hot(labels) if num_classes is None else \
            labels[:, None] == torch.arange(num_classes, device=labels.device)
        kind = 'class'
    hot = hot.to(device).double()[:, None]
    return Targets(kind, hot, torch.ones_like(hot[..., 0], dtype=torch.bool),
                   torch.ones_like(hot), None)


def _masks(data_samples: Sequence[Any], grid: Optional[Tuple[int, int]],
           ignore_index: int, device: Any,
           classes: Optional[int]) -> Targets:
    shares_of, parts = [], []
    if classes is None:
        masks = [sample.gt_sem_seg.data for sample in data_samples]
        classes = 1 + int(torch.cat(
            [mask[mask != ignore_index] for mask in masks]).max())
    cells = grid or (1, 1)
    for sample in data_samples:  # one by one: K maps each
        mask = semantic_masks([sample]).to(device)
        hot = torch.stack([mask == label for label in range(classes)],
                          1).double()
        shares = F.adaptive_avg_pool2d(hot, cells).flatten(2)
        part = F.adaptive_avg_pool2d(
            (mask != ignore_index).double(), cells).flatten(1)
        shares_of.append(
            (shares / part[:, None].clamp(min=1e-9)).transpose(1, 2))
        parts.append(part)
    values, known = torch.cat(shares_of), torch.cat(parts)
    # most of the cell; if there is no such cell, any that is known at all
    mask = known > known.amax(1, keepdim=True).clamp(max=1) / 2
    weight = mask.double() / mask.sum(1, keepdim=True).clamp(min=1)
    return Targets('mask', values * mask[..., None], mask,
                   weight[..., None].expand_as(values), grid)


def _keypoints(data_samples: Sequence[Any], image_size: Sequence[int],
               grid: Optional[Tuple[int, int]], device: Any) -> Targets:
    if grid is None:
        raise ValueError(
            'keypoints have places, which a feature without positions does '
            'not tell: tap a map (a feature bank holds averages), or look '
            "without labels, `time_sampler.look=dict(reward='frequency')`")
    points = data_samples[0].gt_instances.get('transformed_keypoints')
    keypoints, visible = (labels.to(device) for labels in visible_keypoints(
        data_samples, 0 if points is None else points.shape[1]))
    heatmaps, seen = gaussian_heatmaps(keypoints, visible, image_size[::-1],
                                       grid[::-1], SIGMA)
    heatmaps = heatmaps.flatten(2).transpose(1, 2).double()
    energy = heatmaps.square().sum(1) * seen.sum(1, keepdim=True)
    weight = seen / torch.where(seen, energy, torch.ones_like(energy))
    return Targets('keypoint', heatmaps,
                   torch.ones_like(heatmaps[..., 0], dtype=torch.bool),
                   weight[:, None].expand_as(heatmaps), grid)


def _is_multi(sample: Any) -> bool:
    """Whether several classes, or none, may apply to an image."""
    score, label = sample.get('gt_score'), sample.get('gt_label')
    if label is None or label.numel() != 1:
        return True
    # a preprocessor that mixes images writes a single label as scores, too
    return score is not None and not (
        score.sum() == 1 and score[int(label)] == 1)


def _num_classes(sample: Any) -> int:
    score, label = sample.get('gt_score'), sample.get('gt_label')
    if score is not None:
        return len(score)
    return 1 + max(label.tolist(), default=0)


def _places(heatmaps: Tensor, grid: Tuple[int, int]) -> Tensor:
    """Where Gaussians on a grid have their middles, to less than a cell.

    The logarithms of two cells beside each other tell it exactly. Those on
    both sides of the highest one are asked, or the one that there is; what
    they say beyond that cell, of a map that is no Gaussian, is cut off.

    Args:
        heatmaps (Tensor): (M, P, K), times any factor.
        grid (tuple): Height and width, P of them.

    Returns:
        Tensor: Rows and columns as shares of the height and width,
        (M, K, 2).
    """
    highest = heatmaps.argmax(1)
    logs = SIGMA**2 * heatmaps.clamp(min=1e-6).log()
    places = []
    for cells, apart in ((grid[0], grid[1]), (grid[1], 1)):
        place = highest // apart % cells
        shifts, count = (torch.zeros_like(logs[:, 0]) for _ in range(2))
        for side in (-1, 1):
            exists = (place + side >= 0) & (place + side < cells)
            beside = highest + side * apart * exists
            rise = (logs.gather(1, beside[:, None]) -
                    logs.gather(1, highest[:, None]))[:, 0]
            shifts = shifts + exists * side * (0.5 + rise.clamp(min=-1))
            count = count + exists
        places.append((place + 0.5 + shifts / count.clamp(min=1)) / cells)
    return torch.stack(places, -1)
