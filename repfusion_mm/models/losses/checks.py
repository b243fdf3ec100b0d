"""What a loss's batches have to be."""
from typing import Any


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
