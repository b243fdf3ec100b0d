"""Directions, without the trouble at zero length."""
from typing import Tuple, Union

from torch import Tensor

SHORTEST = 1e-6


def unit_vectors(vectors: Tensor, dim: Union[int, Tuple[int, ...]] = -1
                 ) -> Tensor:
    """Vectors brought to unit length.

    One that is no longer than 1e-6 has no direction: it becomes zero and gets
    no gradient. ``F.normalize`` gives it one of up to 1e12 times what comes
    back.

    Args:
        vectors (Tensor): Of any shape, in float32.
        dim (int or tuple[int]): Along which the elements of a vector lie.
            Defaults to -1.

    Returns:
        Tensor: Of the same shape.
    """
    squared = vectors.square().sum(dim, keepdim=True)
    lengths = squared.clamp(min=SHORTEST**2).sqrt()
    return (vectors / lengths).masked_fill(squared <= SHORTEST**2, 0.)
