"""DDPM, DDIM and their like: a U-Net that looks at images."""
from typing import Any, Optional, Sequence, Union

from .families import family
from .folder import FolderSource, Options, unet_grids
from .layout import Layout
from .unet2d import DiffusersFolder


@family('UNet2DModel')
class PixelUNet(DiffusersFolder):
    """What :class:`UNetTeacher` reads, its tokens as maps.

    Args:
        layout (Layout): The folder.
        options (Options): What the config says.
    """
    folds_tokens = True
    hidden = FolderSource.hidden
    is_text = FolderSource.is_text

    def __init__(self, layout: Layout, options: Options) -> None:
        super().__init__(layout.pretrained, None, layout.variant,
                         layout.revision)

    def settle(self, config: Any,
               size: Optional[Union[int, Sequence[int]]], key: str) -> None:
        """As of :class:`Source`."""
        super().settle(config, size, key)
        self.grids = unet_grids(config, self.image_size)
