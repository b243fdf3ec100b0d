"""Where a denoiser comes from, and how it is spoken to."""
from typing import Any, Dict, Optional, Sequence, Tuple, Union

import torch
from torch import Tensor, nn

from repfusion_mm.models.dpm.image_size import denoiser_size

from ..conditions.class_condition import settle_class_condition
from ..conditions.label_rows import LabelRows
from ..processes import DDPMProcess, ForwardProcess

Told = Dict[str, Tensor]


class Source:
    """A family of denoisers; a new one is a subclass in a module of its own.

    As it stands here it is of U-Nets that look at pixels, are told a whole
    number t and maybe a class, and were trained by a noise schedule of DDPM's
    kind.

    Attributes:
        scheduler (diffusers.DDPMScheduler): The noise schedule.
        time_scale (float): What the denoiser is told for t, by t.
        default_tap (str): What is tapped if nothing says what.
        folds_tokens (bool): Whether tokens of the image become maps.
        image_size (tuple[int, int]): Of the images; set by :meth:`settle`.
        image_channels (int): Of the images, 3 or 1; likewise.
        input_shape (tuple[int, ...]): Of what the denoiser looks at, without
            the batch; likewise.
    """
    scheduler: Any
    time_scale = 1.
    default_tap = 'mid_block'
    folds_tokens = False
    image_size: Tuple[int, int]
    image_channels: int
    input_shape: Tuple[int, ...]

    def build(self) -> Any:
        """The denoiser with random weights; shapes are read from it."""
        raise NotImplementedError

    def build_on_meta(self) -> Any:
        """As :meth:`build`, in eval mode, for shapes without memory."""
        with torch.device('meta'):
            denoiser = self.build().eval()
        return denoiser.to('meta')  # what NumPy has computed, too

    def read(self) -> Any:
        """The denoiser with its weights, on the CPU."""
        raise NotImplementedError

    def settle(self, config: Any,
               size: Optional[Union[int, Sequence[int]]], key: str) -> None:
        """Settle the shapes of what goes in.

        Args:
            config (Any): Of the denoiser, with its defaults.
            size (int or Sequence[int], optional): Of the images; None is what
                the denoiser was trained at.
            key (str): The config key of the size, for error messages.

        Raises:
            ValueError: If the denoiser does not take the size.
        """
        self.image_size = denoiser_size(size, config, key)
        self.image_channels = config.in_channels
        self.input_shape = (config.in_channels, *self.image_size)

    @property
    def process(self) -> ForwardProcess:
        """How an image is noised, and what t is called."""
        return DDPMProcess(self.scheduler, self.time_scale)

    @property
    def num_timesteps(self) -> int:
        """Number of time steps: t is from 0 to one less."""
        return self.process.num_timesteps

    def settle_condition(self, cfg: Any, config: Any,
                         key: str) -> Optional[LabelRows]:
        """What the denoiser is told beside t.

        Args:
            cfg (dict, optional): As in the teacher.
            config (Any): Of the denoiser.
            key (str): The config key, for error messages.

        Returns:
            LabelRows, optional: Which row of :meth:`told` each image gets;
            None if it is told nothing.

        Raises:
            ValueError: If it is not valid, or needed and not given.
        """
        return settle_class_condition(cfg, config.num_class_embeds, key)

    def trial(self) -> Told:
        """What an image is told, on the meta device, for shapes.

        Returns:
            dict[str, Tensor]: As :meth:`told`, of one row.
        """
        return dict(class_labels=torch.zeros(
            1, dtype=torch.long, device='meta'))

    def told(self, condition: LabelRows) -> Told:
        """All that images may be told, read or computed once.

        Args:
            condition (LabelRows): Whose rows they are.

        Returns:
            dict[str, Tensor]: Tables of as many rows, on the CPU; where labels
            are read, one more, of NaN or what leads to it.
        """
        return dict(class_labels=torch.arange(
            condition.num_rows + condition.reads_labels))

    def put_condition(self, denoiser: Any, condition: Any) -> None:
        """Put a condition into the denoiser itself, if that is its place.

        Args:
            denoiser (nn.Module): With its weights; changed in place.
            condition (LabelRows): What it is told.
        """
        denoiser.class_embedding = condition.embedding(
            denoiser.class_embedding.weight)

    def build_encoder(self) -> Optional[nn.Module]:
        """As :meth:`read_encoder`, on the meta device."""
        return None

    def read_encoder(self) -> Optional[nn.Module]:
        """What turns images into what the denoiser looks at.

        Returns:
            nn.Module, optional: On the CPU. None if they are the same.
        """
        return None

    def encode(self, images: Tensor, encoder: Optional[nn.Module]) -> Tensor:
        """What the denoiser looks at.

        Args:
            images (Tensor): Resized and in their range, (N, C, H, W).
            encoder (nn.Module, optional): Of :meth:`read_encoder`.

        Returns:
            Tensor: (N, *input_shape): the images, as they are.
        """
        return images

    def arguments(self, timesteps: Tensor,
                  told: Told) -> Tuple[Tuple[Any, ...], Dict[str, Any]]:
        """How the denoiser is called, beside what it looks at.

        Args:
            timesteps (Tensor): Long, (N,).
            told (dict[str, Tensor]): Rows of :meth:`told`, each (N, ...).

        Returns:
            tuple: Further positional arguments of its ``forward``, and those
            by name.
        """
        return (self.process.told(timesteps), told.get('class_labels'),
                False), {}

    def hidden(self, path: str, output: Any) -> Any:
        """The hidden states of the image in what a module returns.

        Args:
            path (str): Of the module.
            output (Any): What it returns.

        Returns:
            Any: They; or the output itself, where its first tensor is.
        """
        return output
