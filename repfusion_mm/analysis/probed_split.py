"""The features and labels of a data set, to be probed over t."""
import zlib
from typing import Any, Callable, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np
import torch

from repfusion_mm.models.labels import class_labels, labelled_mask
from repfusion_mm.models.rewards.targets import (
    Targets,
    grid_rows,
    read_targets,
)
from repfusion_mm.models.teachers.bank.key import settings, weights_hash

from .look import finest_shape
from .stored_features import StoredFeatures


class ProbedSplit(NamedTuple):
    """What is known of M labelled images of a data set.

    Attributes:
        features (StoredFeatures): Of all its images.
        images (list[int]): The labelled ones among them.
        data_samples (list): Theirs, on the CPU.
        size (Sequence[int]): Height and width of the images.
        shape (Sequence[int]): Of the tap that settles the grid.
    """
    features: StoredFeatures
    images: List[int]
    data_samples: List[Any]
    size: Sequence[int]
    shape: Sequence[int]

    def targets(self, num_classes: Optional[int] = None) -> Targets:
        """What the labels say, as of :func:`read_targets`."""
        return read_targets(self.data_samples, self.size, self.shape,
                            num_classes=num_classes)

    def labels(self) -> np.ndarray:
        """Of images with a class each, (M,)."""
        return class_labels(self.data_samples).numpy()


@torch.no_grad()
def probed_split(teacher: Any, dataloader: Any, preprocessing: Tuple,
                 timesteps: Sequence[int], folder: str, key: dict,
                 progress: Callable = iter) -> ProbedSplit:
    """Read a data set once, and store its features at all t and taps.

    Args:
        teacher (nn.Module): With its weights; all its taps are stored.
        dataloader (DataLoader): Of the data set, each image once, always in
            the same order.
        preprocessing (tuple): Data preprocessor and RawImage of it.
        timesteps (Sequence[int]): The time steps.
        folder (str): For :class:`StoredFeatures`. What is there is not
            computed again.
        key (dict): What tells this data set and teacher from others.
        progress (Callable): Wraps the batches, to show progress.

    Returns:
        ProbedSplit: Of its labelled images.

    Raises:
        OSError: If the disk is too small.
        ValueError: If the teacher is told the labels, no image is labelled, a
            batch comes more than once, or
            the folder holds something else.
    """
    if teacher.reads_labels and not teacher.allows_label_leak:
        raise ValueError(
            'the teacher is told the label of each image, and a probe would '
            'read it from z(t) again: any t would look good. Use a fixed '
            'class or an average, or say `leak_labels=True`')
    preprocessor, raw_image = preprocessing
    count = len(dataloader.dataset)
    shape = finest_shape(teacher, list(teacher.feature_shapes))
    stored: Optional[StoredFeatures] = None
    grid, seen = None, 0
    images: List[int] = []
    samples: List[Any] = []
    for batch in progress(dataloader):
        batch = preprocessor(batch)
        raw = raw_image(batch['inputs'], preprocessor)
        known = labelled_mask(batch['data_samples']).nonzero()[:, 0].tolist()
        places = [seen + one for one in known]
        seen += len(raw)
        if seen > count:
            raise ValueError(
                'the dataloader gives more images than its data set has: '
                'give it sampler=dict(type=\'DefaultSampler\', shuffle=False)')
        if not known:
            continue
        some = [batch['data_samples'][one] for one in known]
        if stored is None:
            grid = read_targets(some[:1], raw.shape[2:], shape).grid
            stored = StoredFeatures(folder, dict(
                key, teacher=settings(key['teacher']),
                weights=weights_hash(teacher.weights()),
                timesteps=list(timesteps)), count, _columns(teacher, grid))
        told = teacher.read_samples(some)
        prints = _prints(raw[known])
        for place, t in enumerate(timesteps):
            wanted = np.flatnonzero(stored.missing(place, places, prints))
            if not len(wanted):
                continue
            steps = torch.full((len(wanted), ), t, dtype=torch.long,
                               device=raw.device)
            found = teacher(raw[np.array(known)[wanted]], steps,
                            None if told is None else told[wanted])
            stored.write(
                place, np.array(places)[wanted].tolist(), torch.cat([
                    grid_rows(found[tap], grid).flatten(1) for tap in
                    stored.columns], 1).cpu().numpy(), prints[wanted])
        images += places
        samples += [sample.cpu() for sample in some]
    if stored is None:
        raise ValueError('no image of the data set has a label to probe for')
    return ProbedSplit(stored, images, samples, raw.shape[2:], shape)


def _prints(images: torch.Tensor) -> np.ndarray:
    """What tells images from others: their pixels, in one number above 0."""
    pixels = images.round().to(torch.uint8).cpu().numpy()
    return np.array([zlib.crc32(one.tobytes()) | 1 for one in pixels],
                    np.uint32)


def _columns(teacher: Any, grid: Optional[Tuple[int, int]]) -> dict:
    """Shape of what is kept of each tap: of a class its average, (C,)."""
    cells = () if grid is None else (grid[0] * grid[1], )
    return {tap: (*cells, shape[0])
            for tap, shape in teacher.feature_shapes.items()}
