"""The image's hidden states in what a module of a denoiser returns."""
from typing import Any, Dict, Optional, Tuple

from torch import Tensor


def first_tensor(output: Any) -> Optional[Tensor]:
    """The tensor, or the first of several.

    Args:
        output (Any): Tensor, tuple, or output class of diffusers.

    Returns:
        Tensor, optional: None if there is none in front.
    """
    if hasattr(output, 'to_tuple'):
        output = output.to_tuple()
    if isinstance(output, tuple) and output:
        output = output[0]
    return output if isinstance(output, Tensor) else None


def folded(tokens: Tensor, grids: Dict[int, Tuple[int, int]]) -> Tensor:
    """Tokens of an image as a map.

    Args:
        tokens (Tensor): (N, L, C).
        grids (dict[int, tuple[int, int]]): Height and width of L tokens.

    Returns:
        Tensor: (N, C, h, w), a view; the tokens themselves if they are not as
        many as those of an image.
    """
    grid = grids.get(tokens.shape[1])
    return tokens if grid is None else \
        tokens.transpose(1, 2).unflatten(2, grid)
