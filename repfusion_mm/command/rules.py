"""How large the trainings are: the rules that the table of the plan shows."""
from math import ceil
from typing import Dict, Optional

from .plan_error import PlanError

SIZES = (16, 32, 64, 128, 256)
OWN_DPM_SIZE = 64  # a larger one takes days to train
BATCH = 64
EPOCHS, STEPS = 20, 2000  # of distillation, whichever is more
DPM_TIMES = 4  # as many steps as distillation
MOST_FINETUNE = 2000
LEAST_EPOCHS = 5
LEAST_TESTED = 30  # images that tell one classifier from another
LEAST_WATCHED = 10  # images that tell whether features get better


def training_size(short_side: int, teacher_size: Optional[int],
                  asked: Optional[int]) -> int:
    """The side of the images that the student learns from.

    The largest of 16, 32, 64, 128 and 256 pixels that is neither above most
    images' shorter side nor above what the teacher was trained at; of a
    diffusion model that is still to be trained that is 64.

    Args:
        short_side (int): Median of the images', in pixels.
        teacher_size (int, optional): Of a teacher that is there.
        asked (int, optional): ``--size``, which is taken.

    Returns:
        int: In pixels.

    Raises:
        PlanError: If ``--size`` will not do.
    """
    if asked is not None:
        if asked < SIZES[0] or asked % 16:
            raise PlanError(f'--size is {asked}, expected a multiple of 16 of '
                            'at least 16')
        return asked
    most = min(short_side, teacher_size or OWN_DPM_SIZE)
    return max([size for size in SIZES if size <= most], default=SIZES[0])


def batch_size(images: int) -> int:
    """Images of a step."""
    return min(BATCH, images)


def distil_steps(images: int, epochs: Optional[float]) -> int:
    """Steps of distillation.

    Args:
        images (int): That are distilled.
        epochs (float, optional): ``--epochs``. None: 20, or as many as make
            2,000 steps.

    Returns:
        int: At least 1.
    """
    batch = batch_size(images)
    steps = ceil((epochs or EPOCHS) * images / batch)
    return max(1, steps if epochs else max(steps, STEPS))


def all_steps(images: int, epochs: Optional[float], own_dpm: bool,
              labelled: bool) -> Dict[str, int]:
    """Steps of all trainings.

    Args:
        images (int): That are distilled.
        epochs (float, optional): ``--epochs``.
        own_dpm (bool): Whether a diffusion model is trained, too.
        labelled (bool): Whether classifiers are compared.

    Returns:
        dict[str, int]: By the name of the training, in their order.
    """
    distil = distil_steps(images, epochs)
    steps = dict(dpm=DPM_TIMES * distil) if own_dpm else {}
    steps['distill'] = distil
    if labelled:
        finetune = max(1, min(distil // 2, MOST_FINETUNE))
        steps.update(distilled=finetune, scratch=finetune,
                     scratch_long=finetune + distil)
    return steps
