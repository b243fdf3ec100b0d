"""What a loss's arguments and batches have to be."""
import math
from typing import Any


def check_number(name: str, value: Any, zero: bool = False) -> None:
    """Make sure that an argument is a finite number above 0.

    Args:
        name (str): Of the argument.
        value (Any): What was given.
        zero (bool): Whether 0 will do, too. Defaults to False.

    Raises:
        ValueError: If it is not.
    """
    if not isinstance(value, (int, float)) or not math.isfinite(value) or \
            value < 0 or (value == 0 and not zero):
        raise ValueError(f'`loss.{name}` must be a finite number '
                         f'{"of at least" if zero else "above"} 0, got '
                         f'{value!r}')


def check_count(name: str, value: Any) -> None:
    """Make sure that an argument is a whole number of at least 1.

    Args:
        name (str): Of the argument.
        value (Any): What was given.

    Raises:
        ValueError: If it is not.
    """
    if not isinstance(value, int) or value < 1:
        raise ValueError(f'`loss.{name}` must be a whole number of at least '
                         f'1, got {value!r}')


def check_images(loss: Any, images: int) -> None:
    """Make sure that a batch has enough images to compare with each other.

    Args:
        loss (nn.Module): Which compares them, at least ``least_images``.
        images (int): In this process's batch.

    Raises:
        ValueError: If there are too few.
    """
    if images < loss.least_images:
        raise ValueError(
            f'`connections.loss` {type(loss).__name__} compares the images of '
            f'a batch with each other: it needs at least {loss.least_images} '
            f'a process, got {images}; raise `train_dataloader.batch_size`, '
            'and where only the last batch is so small set '
            '`train_dataloader.drop_last=True`')
