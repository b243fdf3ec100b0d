"""Means over what all processes have, and not over this one's alone.

Several processes average their gradients, as if each had as much to say. Of
labelled images one may have many and another none.
"""
import torch
from mmengine.dist import all_reduce, get_world_size
from torch import Tensor


def sum_of_all(*values: Tensor) -> Tensor:
    """Sums over the processes, by one collective call.

    Every process has to call it equally often. Alone it is no call at all.

    Args:
        *values (Tensor): V scalars of one type.

    Returns:
        Tensor: Their sums, (V,); no gradient goes through them.
    """
    sums = torch.stack(values).detach()
    all_reduce(sums)
    return sums


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """This process' share in the mean over the masked-in values of all.

    The average of the processes' shares, which is what becomes of their
    gradients, is the mean over the masked-in values of all processes,
    wherever they lie. Of a single process it is the mean.

    Args:
        values (Tensor): (N,), with gradient; 0 where they are masked out, so
            that DDP sees a gradient even if all are.
        mask (Tensor): Bool, (N,).

    Returns:
        Tensor: Scalar; 0 if nothing is masked in.
    """
    count, = sum_of_all(mask.sum())
    return values.sum() * get_world_size() / count.clamp(min=1)
