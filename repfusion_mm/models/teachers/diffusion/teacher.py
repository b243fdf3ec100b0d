"""What the teachers that are denoisers share."""
from typing import Any, Dict, Optional, Sequence, Union

import torch
from torch import Tensor, nn

from ...dpm.denoiser_input import denoiser_input
from ...dpm.image_size import denoiser_size
from ..base.frozen_teacher import FrozenTeacher
from .conditions.class_condition import settle_class_condition
from .sources.base import Source


class DenoiserTeacher(FrozenTeacher):
    """Features z(t) of a frozen denoiser, wherever it comes from.

    Its arguments, but for the first and the last, are :class:`UNetTeacher`'s.

    Args:
        source (Source): Where the denoiser comes from, and how it is spoken
            to.
        taps (Sequence[str], optional): Module paths inside the denoiser.
        add_noise (bool): Whether to noise the images.
        image_size (int or Sequence[int], optional): Images are resized to it.
        input_range (Sequence[float]): Values of black and of 255.
        dtype (str, optional): Precision.
        class_condition (dict, optional): Classes that it is told.
        channels_last (bool): Memory format.
        compile (bool or dict): Whether it is compiled, and how.
        size_key (str): The config key of ``image_size``, for error messages.
    """
    hidden_first = True  # diffusers' blocks return skips and images behind

    def __init__(self,
                 source: Source,
                 taps: Optional[Sequence[str]],
                 add_noise: bool,
                 image_size: Optional[Union[int, Sequence[int]]],
                 input_range: Sequence[float],
                 dtype: Optional[str],
                 class_condition: Optional[dict],
                 channels_last: bool,
                 compile: Union[bool, dict],
                 size_key: str = 'teacher.image_size') -> None:
        if len(input_range) != 2 or input_range[0] >= input_range[1]:
            raise ValueError('`teacher.input_range` must be (value of black, '
                             f'value of 255), got {input_range}')
        with torch.device('meta'):  # shapes without memory
            on_meta = source.build().eval()
        config = on_meta.config
        size = denoiser_size(image_size, config, size_key)
        condition = settle_class_condition(class_condition,
                                           config.num_class_embeds)
        zero = torch.zeros(1, dtype=torch.long, device='meta')
        super().__init__(
            on_meta, taps or ['mid_block'],
            torch.empty(1, config.in_channels, *size, device='meta'),
            *source.arguments(zero, zero if condition else None), dtype=dtype,
            channels_last=channels_last, compile=compile)
        self.source = source
        self.add_noise = add_noise
        self.input_range = tuple(input_range)
        self.num_timesteps = source.num_timesteps
        self.in_channels = config.in_channels
        self.image_size = size
        self._condition = condition
        if condition:
            self.reads_labels = condition.reads_labels
            self.allows_label_leak = condition.allows_label_leak

    @property
    def denoiser(self) -> Optional[nn.Module]:
        """The denoiser, cut off behind the deepest tap; None if not read."""
        return self.network

    def read(self) -> nn.Module:
        """The whole denoiser with its weights, told its classes.

        Returns:
            diffusers.UNet2DModel: In float32, on the CPU.
        """
        denoiser = self.source.read()
        if self._condition:
            denoiser.class_embedding = self._condition.embedding(
                denoiser.class_embedding.weight)
        return denoiser

    @torch.no_grad()
    def forward(self,
                images: Tensor,
                timesteps: Tensor,
                labels: Optional[Tensor] = None) -> Dict[str, Tensor]:
        """Features of some images at some time steps.

        Args:
            images (Tensor): Raw images, RGB, 0 to 255, (N, 3, H, W).
            timesteps (Tensor): Long, (N,), from 0 to ``num_timesteps`` - 1.
            labels (Tensor, optional): Long, (N,), -1 where an image has none.
                Read only if ``class_condition`` is a ``class_map``.

        Returns:
            dict[str, Tensor]: Float32 feature by tap, (N, C, h, w).

        Raises:
            RuntimeError: If the weights have not been read yet.
            ValueError: If labels are needed and not given, or not mapped.
        """
        classes = self._condition.rows(images, labels) if self._condition \
            else None
        inputs = self.source.encode(denoiser_input(
            images, self.in_channels, self.image_size, self.input_range))
        if self.add_noise:
            inputs = self.source.add_noise(inputs, timesteps)
        return self.features(inputs,
                             *self.source.arguments(timesteps, classes))

    def check_dataset(self, dataset: Any) -> None:
        """Look at every label of the training's data set, if they are read.

        Args:
            dataset: Of the training.

        Raises:
            ValueError: If ``class_condition`` has no class for one.
        """
        if self._condition and self.reads_labels:
            self._condition.check_dataset(dataset)

    def check_samples(self, data_samples: Sequence) -> None:
        """Look at a batch's labels while they are in the host's memory.

        Args:
            data_samples (Sequence[DataSample]): Of a batch, before it is
                preprocessed.

        Raises:
            ValueError: If ``class_condition`` has no class for one, or a
                sample has no label to read.
        """
        if not self._condition or not data_samples:
            return
        labels = self.read_samples(data_samples)
        if labels is not None and labels.device.type == 'cpu':
            self._condition.check_labels(labels.tolist())
