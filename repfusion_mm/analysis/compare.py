"""The teacher's probe against the student from scratch, on unseen images."""
from typing import Any, Callable, Dict, NamedTuple, Optional, Sequence, Tuple

import numpy as np
import torch
from torch import Tensor, nn

from repfusion_mm.models.rewards.targets import Targets, read_targets
from repfusion_mm.models.utils.ridge import ridge_fit
from repfusion_mm.models.utils.taps import Taps

from .look import Look, best_of, features_at, grouped, held_out
from .looked_images import LookedImages
from .scratch import (
    LabelledImages,
    ScratchModel,
    scratch_scores,
    train_scratch,
)

TRAININGS = 5  # of the student: each without another fifth of the images


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


def compare(model: Any, student: Callable, learn: Part, test: Part,
            looks: Dict[str, Look], steps: int, device: Any,
            progress: Callable) -> Tuple[Tensor, Tensor]:
    """What both say right of images that they were not shown.

    Args:
        model (RepFusion): Of stage 1, its teacher read.
        student (Callable): Gives a backbone with new weights.
        learn (Part): The images to learn from.
        test (Part): The images to be predicted; of the same ones each fifth
            is left out once, and its labels choose no tap and time step.
            Images of one class are left out as far from each other as can
            be.
        looks (dict[str, Look]): By tap, at the images to learn from.
        steps (int): Of each training from scratch.
        device (torch.device): The model's.
        progress (Callable): As of :func:`will_it_pay`.

    Returns:
        tuple: Scores of the probe and of the student, 0 to 1, (N,) each.
    """
    count, is_one = len(learn.looked.indices), learn is test
    order = _dealt(learn.targets('cpu'), count)
    splits = [(np.setdiff1d(order, order[i::TRAININGS]),
               np.sort(order[i::TRAININGS])) for i in range(TRAININGS)]
    if not is_one:
        splits = [(np.arange(count), np.arange(len(test.looked.indices)))
                  ] * TRAININGS
    probe, scratch = (torch.zeros(len(test.looked.indices)).double()
                      for _ in range(2))
    for number, (kept, held) in enumerate(splits):
        probe[held] += _probe(model.teacher, learn, test, looks, kept,
                              device)[held]
        what = f'from scratch, {number + 1} of {TRAININGS}'
        scratch[held] += _scratch(
            model, student(), learn, test, kept, held, steps,
            lambda steps, what=what: progress(steps, what))
    times = 1 if is_one else TRAININGS
    return probe / times, scratch / times


def _probe(teacher: Any, learn: Part, test: Part,
           looks: Dict[str, Look], kept: np.ndarray, device: Any) -> Tensor:
    """Scores of all test images, of a regression on the images kept."""
    tap, t = best_of({name: one.of(kept.tolist())
                      for name, one in looks.items()})
    targets = learn.targets(device)
    x = features_at(teacher, learn.looked, t, [tap], targets.rows,
                    device=device)[tap]
    # of all images: in fewer some class may have none to be predicted by
    ridge = held_out(x, targets).ridge
    mine, x_kept = _select(targets, x, kept)
    coefficients, intercept = ridge_fit(
        x_kept.flatten(1, 2), grouped(mine.values, len(kept)), ridge,
        grouped(mine.mask, len(kept)))
    if learn is not test:
        targets = test.targets(device)
        x = features_at(teacher, test.looked, t, [tap], targets.rows,
                        device=device)[tap]
    predicted = x.flatten(0, 1).double() @ coefficients + intercept
    scores = targets.score(targets.values - predicted)
    return scores.view(x.shape[:2]).mean(1).cpu()


def _dealt(targets: Targets, count: int) -> np.ndarray:
    """The images in an order to be dealt from, class by class, (N,)."""
    order = np.random.permutation(count)
    if targets.kind != 'class':
        return order
    classes = targets.values[:, 0].argmax(1).view(count, -1)[:, 0].numpy()
    return order[np.argsort(classes[order], kind='stable')]


def _select(targets: Targets, x: Tensor, kept: np.ndarray) -> tuple:
    """Targets and features of some of the images."""
    def of(one: Tensor) -> Tensor:
        return one.view(*x.shape[:2], *one.shape[1:])[kept].flatten(0, 1)

    return targets._replace(values=of(targets.values), mask=of(targets.mask),
                            weight=of(targets.weight)), x[kept]


def _scratch(model: Any, backbone: nn.Module, learn: Part, test: Part,
             kept: np.ndarray, held: np.ndarray, steps: int,
             progress: Callable) -> Tensor:
    """Scores of the held-out images, of a student trained on the others."""
    tap = model.connections[0].student_tap
    tap = 'out.-1' if tap.startswith('regressor.') else tap
    images, unseen = (
        LabelledImages(part.dataset, model.data_preprocessor, part.shape,
                       part.num_classes) for part in (learn, test))
    shown, others = ([part.looked.indices[i] for i in chosen]
                     for part, chosen in ((learn, kept), (test, held)))
    inputs, targets = images.batch(shown[:2])
    backbone.eval()
    student = ScratchModel(
        backbone, Taps(backbone, [tap], inputs), tap,
        targets.values.size(2), targets.grid).to(inputs.device)
    train_scratch(student, images, shown, steps, progress)
    return scratch_scores(student, unseen, others,
                          test.looked.images.size(1))
