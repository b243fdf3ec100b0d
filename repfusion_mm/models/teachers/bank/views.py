"""Which looks at an image a feature bank can hold."""
from typing import Any

from torch import nn


def check_teacher(teacher: nn.Module) -> None:
    """Refuse a teacher that sees an image otherwise each time.

    Args:
        teacher (nn.Module): Whose features are to be stored.

    Raises:
        ValueError: If it does, or is told the label, which a bank is not.
    """
    if getattr(teacher, 'add_noise', False):
        raise ValueError('`teacher.teacher.add_noise` is True: each look at '
                         'an image is another one, and a bank stores one; '
                         'leave out the bank or the noise')
    if getattr(teacher, 'draws_latents', False):
        raise ValueError('`teacher.teacher.latents` is \'sample\': each look '
                         'at an image is another one, and a bank stores one; '
                         'take \'mean\'')
    if teacher.reads_labels:
        raise ValueError('`teacher.teacher.condition` or `.class_condition` '
                         'tells the teacher the label, which a bank does not '
                         'know; use a fixed class or prompt, or an average, '
                         'or leave out the bank')


def is_mirrored(sample: Any, flips: bool) -> bool:
    """Whether the student sees an image mirrored.

    Args:
        sample (DataSample): With ``flip``, and its ``flip_direction``.
        flips (bool): Whether the bank holds mirrored images.

    Returns:
        bool: Which of the two it is.

    Raises:
        ValueError: If it cannot be known, or the bank does not hold it.
    """
    flip = sample.get('flip')
    if flip is None and flips:
        raise ValueError(
            'a feature bank must know whether an image is mirrored, but a '
            'data sample has no `flip`: name it among the `meta_keys` of '
            'the transform that packs the inputs, or, if none is ever '
            'mirrored, set `teacher.flips=False`')
    if not flip:
        return False
    if not flips or sample.get('flip_direction') not in (None, 'horizontal'):
        raise ValueError(
            'an image is mirrored, `flip_direction` '
            f'{sample.get("flip_direction")!r}, but `teacher.flips` is '
            f'{flips}; the bank knows none but horizontal flips')
    return True
