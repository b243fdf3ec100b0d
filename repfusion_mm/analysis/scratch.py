"""What a student reaches by the labels alone, in a short training."""
from typing import Any, Callable, Optional, Sequence, Tuple

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
from repfusion_mm.models.utils.taps import Taps

from .looked_images import preprocessed

LEARNING_RATE, WEIGHT_DECAY, BATCH, SMOOTHING = 2e-3, 0.05, 64, 0.1


class ScratchModel(nn.Module):
    """A backbone with a linear layer behind one of its taps.

    It reads the labels of each cell of a coarse grid, as the probes of the
    teacher do, so that the two can be compared.

    Args:
        backbone (nn.Module): The student, with its initial weights.
        taps (Taps): Of the student.
        tap (str): Which of them.
        outputs (int): Classes or keypoints.
        grid (tuple, optional): As of :class:`Targets`.
    """

    def __init__(self, backbone: nn.Module, taps: Taps, tap: str,
                 outputs: int, grid: Optional[Tuple[int, int]]) -> None:
        super().__init__()
        self.backbone = backbone
        self.taps, self.tap, self.grid = taps, tap, grid
        self.head = nn.Linear(taps.shapes[tap][0], outputs)

    def forward(self, inputs: Tensor) -> Tensor:
        """Scores at each position.

        Args:
            inputs (Tensor): Preprocessed images, (M, C, H, W).

        Returns:
            Tensor: (M, P, K).
        """
        _, features = self.taps.forward(self.backbone, inputs)
        return self.head(grid_rows(features[self.tap], self.grid))


class LabelledImages:
    """Batches of labelled images, with their targets.

    Args:
        dataset: With its pipeline.
        data_preprocessor (nn.Module): Of the batches.
        feature_shape (Sequence[int]): As of :func:`read_targets`.
        num_classes (int, optional): Likewise. Defaults to None.
        ignore_index (int): Likewise. Defaults to 255.
        collate (Callable): Makes a batch of samples. Defaults to MMEngine's
            ``pseudo_collate``.
    """

    def __init__(self, dataset: Any, data_preprocessor: Any,
                 feature_shape: Sequence[int],
                 num_classes: Optional[int] = None,
                 ignore_index: int = 255,
                 collate: Callable = pseudo_collate) -> None:
        self.dataset, self.data_preprocessor = dataset, data_preprocessor
        self.feature_shape, self.num_classes = feature_shape, num_classes
        self.ignore_index, self.collate = ignore_index, collate

    def batch(self, indices: Sequence[int]) -> Tuple[Tensor, Targets]:
        """Some images in a fresh view each.

        Args:
            indices (Sequence[int]): In the data set.

        Returns:
            tuple: Preprocessed images and their targets.
        """
        batch = preprocessed(self.dataset, indices, self.data_preprocessor,
                             self.collate)
        inputs = batch['inputs']
        return inputs, read_targets(
            batch['data_samples'], inputs.shape[2:], self.feature_shape,
            self.ignore_index, inputs.device, self.num_classes)


def train_scratch(model: ScratchModel, images: LabelledImages,
                  indices: Sequence[int], steps: int,
                  progress: Callable = iter) -> None:
    """A short training: AdamW, one cycle of a cosine, smoothed labels.

    Args:
        model (ScratchModel): Is trained.
        images (LabelledImages): Where the batches come from.
        indices (Sequence[int]): The images to learn from.
        steps (int): Of at most 64 images each.
        progress (Callable): Wraps the steps, to show progress.
    """
    optimizer = torch.optim.AdamW(model.parameters(), LEARNING_RATE,
                                  weight_decay=WEIGHT_DECAY)
    # where a tenth is a single step, it divides by zero
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, LEARNING_RATE, max(steps, 11), pct_start=0.1)
    model.train()
    for _ in progress(range(steps)):
        # no fewer than 2 images: batch normalisation would have no variance
        chosen = np.random.choice(
            indices, max(2, min(BATCH, 2 * len(indices)))).tolist()
        inputs, targets = images.batch(chosen)
        loss = _loss(model(inputs), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()


@torch.no_grad()
def scratch_scores(model: ScratchModel, images: LabelledImages,
                   indices: Sequence[int], views: int = 1) -> Tensor:
    """How right the model is about some images.

    Args:
        model (ScratchModel): Trained.
        images (LabelledImages): Where they come from.
        indices (Sequence[int]): The images.
        views (int): Fresh views of each, averaged. Defaults to 1.

    Returns:
        Tensor: 0 to 1, as of :meth:`Targets.score`, float64, (N,).
    """
    model.eval()
    found = []
    for start in range(0, len(indices), BATCH):
        part = list(indices[start:start + BATCH])
        scores = []
        for _ in range(views):
            inputs, targets = images.batch(part)
            output = model(inputs).double()
            if targets.kind == 'multi-label':
                output = output.sigmoid()
            scores.append(targets.score(targets.values - output))
        found.append(torch.stack(scores).mean(0))
    return torch.cat(found).cpu()


def _loss(output: Tensor, targets: Targets) -> Tensor:
    values = targets.values.to(output.dtype)
    if targets.kind == 'keypoint':
        return -targets.reward(values - output).mean()
    if targets.kind == 'multi-label':
        return F.binary_cross_entropy_with_logits(output, values)
    values = values * (1 - SMOOTHING) + SMOOTHING / values.size(2)
    entropies = -(values * output.log_softmax(2)).sum(2)
    return (entropies * targets.mask).sum() / targets.mask.sum().clamp(min=1)
