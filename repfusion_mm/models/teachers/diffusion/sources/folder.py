"""A denoiser of any class from its folder."""
from typing import Any, Dict, NamedTuple, Optional, Sequence, Tuple, Union

import torch
from torch import Tensor, nn

from repfusion_mm.models.dpm.image_size import denoiser_size

from ..conditions.store import FOLDER
from .autoencoder import build_autoencoder, latents_of, read_autoencoder
from .base import Source
from .ddpm_scheduler import read_scheduler
from .hidden import first_tensor, folded
from .layout import Layout, diffusers_class
from .single_file import read_part


class Options(NamedTuple):
    """What a config says of a source.

    Attributes:
        latents (str): ``'mean'`` or ``'sample'``, of what the autoencoder
            says.
        condition_dir (str): Folder of the encoded prompts.
    """
    latents: str = 'mean'
    condition_dir: str = FOLDER


class FolderSource(Source):
    """A denoiser from its folder, by the class that its config names.

    Args:
        layout (Layout): The folder.
        options (Options): What the config says.

    Attributes:
        grids (dict[int, tuple[int, int]]): Height and width of the image's
            tokens, by their number; set by :meth:`settle`.
    """
    folds_tokens = True
    grids: Dict[int, Tuple[int, int]]

    def __init__(self, layout: Layout, options: Options) -> None:
        self.layout, self.options = layout, options
        self.who = f'`teacher.pretrained`, {layout.pretrained!r}, '
        self.denoiser_class = diffusers_class(layout.class_name, self.who)
        # as `from_pretrained` does: keys of a newer diffusers are left out
        self.config = self.denoiser_class.extract_init_dict(
            dict(layout.config))[0]

    def build(self) -> Any:
        """As of :class:`Source`."""
        try:
            return self.denoiser_class(**self.config)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f'{self.who}cannot be built: diffusers refuses the config of '
                f'its {self.layout.class_name}: {error}') from error

    def read(self) -> nn.Module:
        """As of :class:`Source`."""
        from accelerate import init_empty_weights
        with init_empty_weights():  # positions that no file holds are filled
            denoiser = self.build()
        return read_part(denoiser, self.layout, self.layout.prefix)

    def hidden(self, path: str, output: Any) -> Any:
        """As of :class:`Source`; tokens of the image as a map."""
        tokens = first_tensor(output)
        if tokens is None or tokens.dim() != 3 or self.is_text(path):
            return output
        # an attention's norm has the channels in front
        return folded(tokens.transpose(1, 2) if path.endswith('.group_norm')
                      else tokens, self.grids)

    def is_text(self, path: str) -> bool:
        """Whether the tokens that a module returns are those of a text.

        Args:
            path (str): Of the module.

        Returns:
            bool: Not here.
        """
        return False


class LatentSource(FolderSource):
    """A U-Net that looks at latents, made by the autoencoder beside it.

    Its noise schedule is of DDPM's kind.

    Attributes:
        native_size (int, optional): Latents a side that it was trained at,
            where its config does not say.
    """
    native_size: Optional[int] = None

    def __init__(self, layout: Layout, options: Options) -> None:
        super().__init__(layout, options)
        name = layout.autoencoder
        if name is None:
            raise FileNotFoundError(
                f'{self.who}has no autoencoder beside the denoiser (`vae/` '
                'or `vqvae/`), which looks at latents; name a whole '
                'pipeline')
        self.autoencoder = f'{name}/'
        self.read_process()

    def read_process(self) -> None:
        """Read how latents are noised."""
        self.scheduler = read_scheduler(self.layout.files,
                                        self.layout.prefix)

    def settle(self, config: Any,
               size: Optional[Union[int, Sequence[int]]], key: str) -> None:
        """As of :class:`Source`, by a trial of the autoencoder."""
        encoder = self.build_encoder()
        stride = self.stride(encoder)
        native = config.get('sample_size', self.native_size)
        if size is None and native is not None:
            size = [side * stride for side in (
                (native, native) if isinstance(native, int) else native)]
        self.image_size = self.settle_size(size, stride, config, key)
        self.image_channels = 3
        latents = latents_of(encoder, torch.empty(
            1, 3, *self.image_size, device='meta'))
        channels = self.latent_channels(config)
        if latents.shape[1] != channels:
            raise ValueError(
                f'{self.who}has a denoiser of latents of {channels} channels, '
                f'but the latents of its autoencoder have {latents.shape[1]}: '
                'it is given more than an image (inpainting, editing), which '
                'a teacher does not have; take one for text to image')
        self.input_shape = tuple(latents.shape[1:])
        self.settle_grids(config)

    def latent_channels(self, config: Any) -> int:
        """Channels of the latents.

        Args:
            config (Any): Of the denoiser.

        Returns:
            int: Such as 4.
        """
        return config.in_channels

    @staticmethod
    def stride(encoder: Any) -> int:
        """Pixels to a side of a latent.

        Args:
            encoder (nn.Module): The autoencoder, on the meta device.

        Returns:
            int: Such as 8.
        """
        side = 256
        latents = latents_of(encoder, torch.empty(1, 3, side, side,
                                                  device='meta'))
        return side // latents.shape[-1]

    def settle_size(self, size: Any, stride: int, config: Any,
                    key: str) -> Tuple[int, int]:
        """Height and width of the images, checked.

        Args:
            size (int or Sequence[int], optional): As in the config.
            stride (int): Of the autoencoder.
            config (Any): Of the denoiser.
            key (str): The config key, for error messages.

        Returns:
            tuple[int, int]: Height and width.

        Raises:
            ValueError: If the denoiser does not take them.
        """
        return denoiser_size(size, config, key, stride)

    def settle_grids(self, config: Any) -> None:
        """Settle ``grids``.

        Args:
            config (Any): Of the denoiser.
        """
        self.grids = unet_grids(config, self.input_shape[-2:])

    def build_encoder(self) -> nn.Module:
        """As of :class:`Source`."""
        with torch.device('meta'):
            return build_autoencoder(self.layout.files, self.autoencoder)

    def read_encoder(self) -> nn.Module:
        """As of :class:`Source`."""
        return read_autoencoder(self.layout, self.autoencoder)

    def encode(self, images: Tensor, encoder: Optional[nn.Module]) -> Tensor:
        """As of :class:`Source`."""
        assert encoder is not None  # `read_encoder` has read it
        return latents_of(encoder, images, self.options.latents)


def unet_grids(config: Any, size: Sequence[int]
               ) -> Dict[int, Tuple[int, int]]:
    """Height and width of the tokens at each level of a U-Net.

    Args:
        config (Any): Of the denoiser.
        size (Sequence[int]): Height and width of what it looks at.

    Returns:
        dict[int, tuple[int, int]]: By the number of tokens.
    """
    height, width = size
    return {(height >> level) * (width >> level):
            (height >> level, width >> level)
            for level in range(len(config.block_out_channels))}
