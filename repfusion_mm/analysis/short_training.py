"""What a head reads of features, trained shortly by the labels."""
from typing import Any, Callable, List, Optional, Sequence, Tuple

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.dataset import pseudo_collate
from torch import Tensor, nn

from repfusion_mm.models.rewards.targets import (
    Targets,
    grid_rows,
    read_targets,
)

from .looked_images import preprocessed

LEARNING_RATE, WEIGHT_DECAY, SMOOTHING = 2e-3, 0.05, 0.1
BATCH, MAP_BATCH = 64, 16  # images at most; of masks and keypoints
WIDTH = 64  # channels of a head on a map
LAYERS = 3  # of it
CELLS = 16  # that it reads at most, on each side


class Reader(nn.Module):
    """Features, and a head that reads labels of them.

    Of classes the head is a linear layer on the average. Of masks and
    keypoints it is like mmpose's: three layers, transposed convolutions as
    long as the map is coarser than the grid. A linear layer tells much less
    of a map than the head that a task will have.

    Args:
        features (Callable): Takes preprocessed images (M, 3, H, W) and their
            data samples, and gives features, (M, C, h, w) or (M, C). Of a
            module the weights are trained, too.
        shape (Sequence[int]): Of a feature, (C, h, w) or (C,).
        outputs (int): Classes or keypoints.
        grid (tuple, optional): As of :class:`Targets`.
    """

    def __init__(self, features: Callable, shape: Sequence[int],
                 outputs: int, grid: Optional[Tuple[int, int]]) -> None:
        super().__init__()
        self.features, self.grid = features, grid
        self.head: nn.Module = nn.Linear(shape[0], outputs) \
            if grid is None else _map_head(shape, outputs, grid)

    def forward(self, inputs: Tensor, data_samples: Sequence[Any]) -> Tensor:
        """Scores at each position.

        Args:
            inputs (Tensor): Preprocessed images, (M, 3, H, W).
            data_samples (Sequence): Of them.

        Returns:
            Tensor: (M, P, K).
        """
        feature = self.features(inputs, data_samples).float()
        if self.grid is None:
            return self.head(grid_rows(feature, None))
        if feature.dim() == 2:
            feature = feature[..., None, None]
        return grid_rows(self.head(feature), self.grid)


def _map_head(shape: Sequence[int], outputs: int,
              grid: Tuple[int, int]) -> nn.Module:
    channels, height, width = (*shape, 1, 1)[:3]
    layers: List[nn.Module] = [nn.BatchNorm2d(channels)]
    for _ in range(LAYERS):
        is_coarser = height < grid[0] or width < grid[1]
        layers += [
            nn.ConvTranspose2d(channels, WIDTH, 4, 2, 1, bias=False)
            if is_coarser else
            nn.Conv2d(channels, WIDTH, 3, padding=1, bias=False),
            nn.BatchNorm2d(WIDTH), nn.ReLU()]
        channels = WIDTH
        height, width = (side * (1 + is_coarser) for side in (height, width))
    last = nn.Conv2d(channels, outputs, 1, bias=False)
    nn.init.normal_(last.weight, std=0.001)  # heatmaps are empty
    return nn.Sequential(*layers, last)


class LabelledImages:
    """Batches of labelled images, with their targets.

    Args:
        dataset: With its pipeline.
        data_preprocessor (nn.Module): Of the batches.
        grid (Sequence[int]): Rows and columns that masks and keypoints are
            read at.
        num_classes (int, optional): As of :func:`read_targets`. Defaults to
            None.
        ignore_index (int): Likewise. Defaults to 255.
        collate (Callable): Makes a batch of samples. Defaults to MMEngine's
            ``pseudo_collate``.
    """

    def __init__(self, dataset: Any, data_preprocessor: Any,
                 grid: Sequence[int], num_classes: Optional[int] = None,
                 ignore_index: int = 255,
                 collate: Callable = pseudo_collate) -> None:
        self.dataset, self.data_preprocessor = dataset, data_preprocessor
        self.num_classes, self.ignore_index = num_classes, ignore_index
        self.grid, self.collate = grid, collate

    def batch(self, indices: Sequence[int]) -> Tuple[Tensor, Any, Targets]:
        """Some images in a fresh view each.

        Args:
            indices (Sequence[int]): In the data set.

        Returns:
            tuple: Preprocessed images, their data samples and targets.
        """
        batch = preprocessed(self.dataset, indices, self.data_preprocessor,
                             self.collate)
        inputs, samples = batch['inputs'], batch['data_samples']
        return inputs, samples, read_targets(
            samples, inputs.shape[2:], (1, *self.grid), self.ignore_index,
            inputs.device, self.num_classes, max(self.grid))


def train(reader: Reader, images: LabelledImages, indices: Sequence[int],
          steps: int, progress: Callable = iter) -> None:
    """A short training: AdamW, one cycle of a cosine, smoothed labels.

    Args:
        reader (Reader): Is trained.
        images (LabelledImages): Where the batches come from.
        indices (Sequence[int]): The images to learn from.
        steps (int): Of at most 64 images each, 16 where maps are read.
        progress (Callable): Wraps the steps, to show progress.
    """
    optimizer = torch.optim.AdamW(reader.parameters(), LEARNING_RATE,
                                  weight_decay=WEIGHT_DECAY)
    # where a tenth is a single step, it divides by zero
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, LEARNING_RATE, max(steps, 11), pct_start=0.1)
    # no fewer than 2 images: batch normalisation would have no variance
    batch = max(2, min(BATCH if reader.grid is None else MAP_BATCH,
                       2 * len(indices)))
    reader.train()
    for _ in progress(range(steps)):
        inputs, samples, targets = images.batch(
            np.random.choice(indices, batch).tolist())
        loss = _loss(reader(inputs, samples), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()


@torch.no_grad()
def scores(reader: Reader, images: LabelledImages, indices: Sequence[int],
           views: int = 1) -> Tensor:
    """How right a reader is about some images.

    Args:
        reader (Reader): Trained.
        images (LabelledImages): Where they come from.
        indices (Sequence[int]): The images.
        views (int): Fresh views of each; those that show a label are
            averaged. Defaults to 1.

    Returns:
        Tensor: 0 to 1, as of :meth:`Targets.score`, float64, (N,).
    """
    reader.eval()
    found = []
    for start in range(0, len(indices), BATCH):
        part = list(indices[start:start + BATCH])
        right, seen = (torch.zeros(len(part)).double() for _ in range(2))
        for _ in range(views):
            inputs, samples, targets = images.batch(part)
            output = reader(inputs, samples).double()
            if targets.kind == 'multi-label':
                output = output.sigmoid()
            shown = (targets.weight.sum((1, 2)) > 0).double().cpu()
            right += shown * targets.score(targets.values - output).cpu()
            seen += shown
        found.append(right / seen.clamp(min=1))
    return torch.cat(found)


def _loss(output: Tensor, targets: Targets) -> Tensor:
    values = targets.values.to(output.dtype)
    if targets.kind == 'keypoint':
        return -targets.reward(values - output).mean()
    if targets.kind == 'multi-label':
        return F.binary_cross_entropy_with_logits(output, values)
    values = values * (1 - SMOOTHING) + SMOOTHING / values.size(2)
    entropies = -(values * output.log_softmax(2)).sum(2)
    return (entropies * targets.mask).sum() / targets.mask.sum().clamp(min=1)
