"""Transformers that look at latents in patches."""
from typing import Any, Optional, Sequence, Tuple, Union

from repfusion_mm.models.dpm.image_size import checked_sides

from .folder import LatentSource


class PatchSource(LatentSource):
    """A transformer that looks at latents, made by the autoencoder beside it.

    A token is a square of latents; the tokens of an image have one size in
    all of its blocks.
    """
    default_tap = 'transformer_blocks.13'

    def patch(self, config: Any) -> int:
        """Latents to a side of a token.

        Args:
            config (Any): Of the denoiser.

        Returns:
            int: Such as 2.
        """
        return config.patch_size

    def settle_size(self, size: Optional[Union[int, Sequence[int]]],
                    stride: int, config: Any, key: str) -> Tuple[int, int]:
        """As of :class:`LatentSource`."""
        if size is None:
            raise ValueError(f'`{key}` is needed: the denoiser\'s config has '
                             'no `sample_size`')
        token = stride * self.patch(config)
        height, width = checked_sides(
            size, token, key,
            f'a token of the denoiser is {token} pixels a side')
        most = config.get('pos_embed_max_size')
        for side in (height, width):
            if most and side > most * token:
                raise ValueError(
                    f'`{key}` is {size}, but the denoiser has places for '
                    f'{most} tokens a side; nearest: {most * token}')
        return height, width

    def settle_grids(self, config: Any) -> None:
        """As of :class:`LatentSource`: one grid, of patches."""
        patch = self.patch(config)
        height, width = (side // patch for side in self.input_shape[-2:])
        self.grids = {height * width: (height, width)}
