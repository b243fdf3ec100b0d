"""Tokens of a vision transformer as maps."""
from typing import Any, Dict, Sequence, Tuple

from torch import Tensor, nn


class TokenMaps:
    """Finds the grid of a transformer's patches, and folds its tokens.

    It knows what mmpretrain's and timm's transformers say of themselves: the
    grid of their patches, and the number of tokens in front of them.

    Args:
        network (nn.Module): With the transformer somewhere in it.
        size (Sequence[int]): Height and width of the images.

    Attributes:
        prefix (int): Tokens in front: the class's, and registers.
        grids (dict[int, tuple[int, int]]): Height and width of the patches,
            by their number; none if there is no transformer.
    """

    def __init__(self, network: nn.Module, size: Sequence[int]) -> None:
        self.prefix = 0
        self.grids: Dict[int, Tuple[int, int]] = {}
        for module in network.modules():
            patches: Any = getattr(module, 'patch_embed', None)
            stride = _patch_stride(patches)
            if stride is None:
                continue
            self.prefix = next(
                (getattr(module, name) for name in
                 ('num_extra_tokens', 'num_prefix_tokens')
                 if hasattr(module, name)), 0)
            height, width = (side // one for side, one in zip(size, stride))
            # those without a prefix may merge patches from stage to stage
            while height and width:
                self.grids[height * width] = height, width
                height, width = height // 2, width // 2
                if self.prefix:
                    break
            break

    def __call__(self, path: str, output: Any) -> Any:
        """What counts as a module's output.

        Args:
            path (str): Of the module.
            output (Any): What it returns.

        Returns:
            Any: Tokens (N, L, C) as a map (N, C, h, w); else the output.
        """
        if not isinstance(output, Tensor) or output.dim() != 3:
            return output
        for prefix in {self.prefix, 0}:
            grid = self.grids.get(output.shape[1] - prefix)
            if grid is not None:
                return output[:, prefix:].transpose(1, 2).unflatten(2, grid)
        return output


def _patch_stride(patches: Any) -> Any:
    """Pixels between patches, (height, width); None if there are none."""
    projection = getattr(patches, 'projection', None) or \
        getattr(patches, 'proj', None)
    return getattr(projection, 'stride', None)
