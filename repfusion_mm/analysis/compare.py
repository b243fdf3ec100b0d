"""What the teacher knows against the student from scratch, images unseen."""
from typing import Any, Callable, Dict, NamedTuple, Optional, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from repfusion_mm.models.rewards.targets import Targets, read_targets
from repfusion_mm.models.utils.ridge import ridge_fit
from repfusion_mm.models.utils.taps import Taps

from .look import Look, best_of, features_at, grouped, held_out
from .looked_images import LookedImages
from .short_training import CELLS, LabelledImages, Reader, scores, train

TRAININGS = 5  # each without another fifth of the images


class Part(NamedTuple):
    """Labelled images of a data set.

    Attributes:
        dataset (Any): The data set.
        looked (LookedImages): N of its images in V views.
        shape (Sequence[int]): Of the feature that settles the grid.
        num_classes (int, optional): None: those of the images.
    """
    dataset: Any
    looked: LookedImages
    shape: Sequence[int]
    num_classes: Optional[int]

    def targets(self, device: Any) -> Targets:
        """Of the views."""
        return read_targets(
            self.looked.data_samples, self.looked.images.shape[3:],
            self.shape, device=device, num_classes=self.num_classes)


class Compared(NamedTuple):
    """Scores of N images, 0 to 1, float64, (N,) each.

    Attributes:
        probe (Tensor): Of what reads the teacher's features.
        scratch (Tensor): Of the student from scratch.
        half (Tensor): Of one that was trained for half of the steps.
        constant (Tensor): Of the same answer to all images, the best one.
    """
    probe: Tensor
    scratch: Tensor
    half: Tensor
    constant: Tensor


def compare(model: Any, student: Callable, learn: Part, test: Part,
            looks: Dict[str, Look], steps: int, device: Any,
            progress: Callable) -> Compared:
    """What both say right of images that they were not shown.

    Of classes the teacher is read by a ridge regression, of masks and
    keypoints by the head that the student has, trained as long: a regression
    on a map tells much less of it than such a head.

    Args:
        model (RepFusion): Of stage 1, its teacher read.
        student (Callable): Gives a backbone with new weights.
        learn (Part): The images to learn from.
        test (Part): The images to be predicted; of the same ones each fifth
            is left out once, and its labels choose no tap and time step.
            Images of one class are left out as far from each other as can
            be.
        looks (dict[str, Look]): By tap, at the images to learn from.
        steps (int): Of each training.
        device (torch.device): The model's.
        progress (Callable): As of :func:`will_it_pay`.

    Returns:
        Compared: The scores.
    """
    count, is_one = len(learn.looked.indices), learn is test
    order = _dealt(learn.targets('cpu'), count)
    splits = [(np.setdiff1d(order, order[i::TRAININGS]),
               np.sort(order[i::TRAININGS])) for i in range(TRAININGS)]
    if not is_one:
        splits = [(np.arange(count), np.arange(len(test.looked.indices)))
                  ] * TRAININGS
    found = Compared(*(torch.zeros(len(test.looked.indices)).double()
                       for _ in Compared._fields))
    for number, (kept, held) in enumerate(splits):
        what = f'{number + 1} of {TRAININGS}'
        trained = _ShortTrainings(model, learn, test, kept, held, progress)
        tap, t = best_of({name: one.of(kept.tolist())
                          for name, one in looks.items()})
        found.probe[held] += trained.teacher(
            tap, t, steps, f'on the teacher, {what}') \
            if trained.reads_maps else _probe(
                model.teacher, learn, test, tap, t, kept, device)[held]
        found.scratch[held] += trained.student(
            student(), steps, f'from scratch, {what}')
        found.half[held] += trained.student(
            student(), max(1, steps // 2), f'half as long, {what}')
        found.constant[held] += _constant(learn, test, kept,
                                          trained.grid)[held]
    times = 1 if is_one else TRAININGS
    return Compared(*(one / times for one in found))


def _probe(teacher: Any, learn: Part, test: Part, tap: str, t: int,
           kept: np.ndarray, device: Any) -> Tensor:
    """Scores of all test images, of a regression on the images kept."""
    targets = learn.targets(device)
    x = features_at(teacher, learn.looked, t, [tap], targets.rows,
                    device=device)[tap]
    # of all images: in fewer some class may have none to be predicted by
    ridge = held_out(x, targets).ridge
    coefficients, intercept = ridge_fit(
        x[kept].flatten(1, 2), grouped(targets.values, len(x))[kept], ridge)
    if learn is not test:
        targets = test.targets(device)
        x = features_at(teacher, test.looked, t, [tap], targets.rows,
                        device=device)[tap]
    predicted = x.flatten(0, 1).double() @ coefficients + intercept
    found = targets.score(targets.values - predicted)
    return found.view(x.shape[:2]).mean(1).cpu()


def _constant(learn: Part, test: Part, kept: np.ndarray,
              grid: Sequence[int]) -> Tensor:
    """Scores of all test images, of what is usual among the images kept."""
    known, targets = (read_targets(
        part.looked.data_samples, part.looked.images.shape[3:], (1, *grid),
        num_classes=part.num_classes, most_cells=max(grid))
        for part in (learn, test))
    mean = grouped(known.values, len(learn.looked.indices))[kept].view(
        -1, *known.values.shape[1:]).mean(0)
    return targets.score(targets.values - mean).view(
        len(test.looked.indices), -1).mean(1)


def _dealt(targets: Targets, count: int) -> np.ndarray:
    """The images in an order to be dealt from, class by class, (N,)."""
    order = np.random.permutation(count)
    if targets.kind != 'class':
        return order
    classes = targets.values[:, 0].argmax(1).view(count, -1)[:, 0].numpy()
    return order[np.argsort(classes[order], kind='stable')]


class _ShortTrainings:
    """Trainings on the images kept, and scores of those held out.

    Args:
        model (RepFusion): As of :func:`compare`.
        learn (Part): As there.
        test (Part): As there.
        kept (np.ndarray): Of the former, their numbers.
        held (np.ndarray): Of the latter.
        progress (Callable): As there.
    """

    def __init__(self, model: Any, learn: Part, test: Part, kept: np.ndarray,
                 held: np.ndarray, progress: Callable) -> None:
        self.model, self.progress = model, progress
        self.views = test.looked.images.size(1)
        self.grid = [min(CELLS, max(1, side // 2))
                     for side in learn.looked.images.shape[3:]]
        self.images, self.unseen = (
            LabelledImages(part.dataset, model.data_preprocessor, self.grid,
                           part.num_classes) for part in (learn, test))
        self.shown, self.others = (
            [part.looked.indices[i] for i in chosen]
            for part, chosen in ((learn, kept), (test, held)))
        self.trial, _, self.targets = self.images.batch(self.shown[:2])
        self.reads_maps = self.targets.grid is not None

    def teacher(self, tap: str, t: int, steps: int, what: str) -> Tensor:
        """Of a head on the teacher's features."""
        model = self.model

        @torch.no_grad()
        def features(inputs: Tensor, data_samples: Sequence[Any]) -> Tensor:
            raw = model.raw_image.invert(inputs, model.data_preprocessor)
            return model.teacher(
                raw, torch.full((len(raw), ), t, device=raw.device),
                model.teacher.read_samples(data_samples))[tap]

        return self._scores(features, model.teacher.feature_shapes[tap],
                            steps, what)

    def student(self, backbone: nn.Module, steps: int, what: str) -> Tensor:
        """Of a student, trained from scratch together with its head."""
        tap = self.model.connections[0].student_tap
        tap = 'out.-1' if tap.startswith('regressor.') else tap
        backbone.eval()  # of some backbones it returns nothing
        taps = Taps(backbone, [tap], self.trial)
        return self._scores(_Student(backbone, taps, tap), taps.shapes[tap],
                            steps, what)

    def _scores(self, features: Callable, shape: Sequence[int], steps: int,
                what: str) -> Tensor:
        reader = Reader(features, shape, self.targets.values.size(2),
                        self.targets.grid).to(self.trial.device)
        train(reader, self.images, self.shown, steps,
              lambda steps: self.progress(steps, what))
        return scores(reader, self.unseen, self.others, self.views)


class _Student(nn.Module):
    """A backbone at one of its taps, whatever the samples say."""

    def __init__(self, backbone: nn.Module, taps: Taps, tap: str) -> None:
        super().__init__()
        self.backbone, self.taps, self.tap = backbone, taps, tap

    def forward(self, inputs: Tensor, data_samples: Sequence[Any]) -> Tensor:
        return self.taps.forward(self.backbone, inputs)[1][self.tap]
