"""What the teachers that are denoisers share."""
from contextlib import nullcontext
from typing import Any, Dict, Optional, Sequence, Tuple, Union

import torch
from torch import Tensor, nn

from ...dpm.denoiser_input import denoiser_input
from ..base.frozen_teacher import FrozenTeacher
from .sources.base import Source


class DenoiserTeacher(FrozenTeacher):
    """Features z(t) of a frozen denoiser, wherever it comes from.

    Its arguments, but for the first and the last two, are
    :class:`UNetTeacher`'s.

    Args:
        source (Source): Where the denoiser comes from, and how it is spoken
            to.
        taps (Sequence[str], optional): Module paths inside the denoiser.
        add_noise (bool or int): Whether to noise the images, and how often.
        image_size (int or Sequence[int], optional): Images are resized to it.
        input_range (Sequence[float]): Values of black and of 255.
        dtype (str, optional): Precision.
        condition (dict, optional): What it is told beside t.
        channels_last (bool): Memory format.
        compile (bool or dict): Whether it is compiled, and how.
        size_key (str): The config key of ``image_size``, for error messages.
        condition_key (str): That of ``condition``.
    """
    hidden_first = True  # diffusers' blocks return skips and images behind

    def __init__(self,
                 source: Source,
                 taps: Optional[Sequence[str]],
                 add_noise: Union[bool, int],
                 image_size: Optional[Union[int, Sequence[int]]],
                 input_range: Sequence[float],
                 dtype: Optional[str],
                 condition: Optional[dict],
                 channels_last: bool,
                 compile: Union[bool, dict],
                 size_key: str = 'teacher.image_size',
                 condition_key: str = 'teacher.class_condition') -> None:
        if len(input_range) != 2 or input_range[0] >= input_range[1]:
            raise ValueError('`teacher.input_range` must be (value of black, '
                             f'value of 255), got {input_range}')
        if not isinstance(add_noise, int) or add_noise < 0:
            raise ValueError(f'`teacher.add_noise` is {add_noise!r}, expected '
                             'False, True, or how many draws of the noise '
                             'the features are the mean of')
        on_meta = source.build_on_meta()
        source.settle(on_meta.config, image_size, size_key)
        rows = source.settle_condition(condition, on_meta.config,
                                       condition_key)
        inputs, args, kwargs = trial_call(source, bool(rows))
        super().__init__(
            on_meta, taps or [source.default_tap], inputs, *args, dtype=dtype,
            channels_last=channels_last, compile=compile,
            hidden=source.hidden, **kwargs)
        self.source = source
        self.num_draws = int(add_noise)
        self.add_noise = bool(add_noise)
        self.input_range = tuple(input_range)
        self.num_timesteps = source.num_timesteps
        self.in_channels = source.image_channels
        self.image_size = source.image_size
        self._condition = rows
        if rows:
            self.reads_labels = rows.reads_labels
            self.allows_label_leak = rows.allows_label_leak

    @property
    def is_told(self) -> bool:
        """Whether the denoiser is told something beside t."""
        return self._condition is not None

    @property
    def denoiser(self) -> Optional[nn.Module]:
        """The denoiser, cut off behind the deepest tap; None if not read."""
        return self.network

    def read(self) -> nn.Module:
        """The whole denoiser with its weights, told its classes.

        Returns:
            nn.Module: On the CPU.
        """
        denoiser = self.source.read()
        if self._condition:
            self.source.put_condition(denoiser, self._condition)
        return denoiser

    def read_beside(self) -> Dict[str, nn.Module]:
        """What makes latents, and the tables of what images are told."""
        beside: Dict[str, nn.Module] = {}
        encoder: Any = self.source.read_encoder()
        if encoder is not None:
            # one that says that half precision is too small for it
            whole = self.dtype is torch.float16 and \
                encoder.config.get('force_upcast')
            beside['encoder'] = encoder.to(
                torch.float32 if whole else self.dtype)
        if self._condition:
            tables: Any = nn.Module()
            for name, table in self.source.told(self._condition).items():
                tables.register_buffer(name, table)
            beside['told'] = tables.to(self.dtype)
        return beside

    def encode_condition(self) -> None:
        """Encode and store what is told, ahead of a training.

        Raises:
            ImportError: If that takes transformers, which is not there.
            OSError: If an encoder cannot be read.
        """
        if self._condition:
            self.source.told(self._condition)

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
                Read only if the condition depends on it.

        Returns:
            dict[str, Tensor]: Float32 feature by tap, (N, C, h, w).

        Raises:
            RuntimeError: If the weights have not been read yet.
            ValueError: If labels are needed and not given, or not mapped.
        """
        return self.look(self.encode(images), timesteps, labels)

    @torch.no_grad()
    def encode(self, images: Tensor) -> Tensor:
        """What the denoiser looks at, before there is any noise.

        Args:
            images (Tensor): As in :meth:`forward`.

        Returns:
            Tensor: The images in its size and range, or their latents.

        Raises:
            RuntimeError: If the weights have not been read yet.
        """
        inputs = denoiser_input(images, self.in_channels, self.image_size,
                                self.input_range)
        if 'encoder' not in self._beside:
            return self.source.encode(inputs, None)
        encoder: Any = self._beside['encoder'].module
        dtype = next(encoder.parameters()).dtype
        own_precision = nullcontext() if self.dtype is None else \
            torch.autocast(inputs.device.type, enabled=False)
        with own_precision:
            return self.source.encode(inputs.to(dtype), encoder)

    @torch.no_grad()
    def look(self,
             inputs: Tensor,
             timesteps: Tensor,
             labels: Optional[Tensor] = None) -> Dict[str, Tensor]:
        """Features of what :meth:`encode` gives.

        Args:
            inputs (Tensor): Of N images.
            timesteps (Tensor): As in :meth:`forward`.
            labels (Tensor, optional): Likewise.

        Returns:
            dict[str, Tensor]: Likewise.
        """
        mean: Dict[str, Tensor] = {}
        for _ in range(max(self.num_draws, 1)):
            inputs_of_t, args, kwargs = self.call(inputs, timesteps, labels)
            features = self.features(inputs_of_t, *args, **kwargs)
            for tap, feature in features.items():
                mean[tap] = mean[tap] + feature if tap in mean else feature
        return {tap: feature / self.num_draws for tap, feature
                in mean.items()} if self.num_draws > 1 else mean

    def call(self,
             inputs: Tensor,
             timesteps: Tensor,
             labels: Optional[Tensor] = None
             ) -> Tuple[Tensor, tuple, Dict[str, Any]]:
        """How the denoiser is called; noise is drawn here.

        Args:
            inputs (Tensor): Of :meth:`encode`.
            timesteps (Tensor): As in :meth:`forward`.
            labels (Tensor, optional): Likewise.

        Returns:
            tuple: What it looks at, further positional arguments, and those
            by name.

        Raises:
            RuntimeError: If the weights have not been read yet.
            ValueError: If labels are needed and not given, or not mapped.
        """
        told: Dict[str, Tensor] = {}
        if self._condition:
            rows = self._condition.rows(inputs, labels)
            self.check_read()
            told = {name: table[rows] for name, table
                    in self._beside['told'].module.named_buffers()}
        process = self.source.process
        if self.add_noise:
            inputs = process.add_noise(inputs, torch.randn_like(inputs),
                                       timesteps)
        args, kwargs = self.source.arguments(timesteps, told)
        return process.scaled(inputs, timesteps), args, kwargs

    def check_dataset(self, dataset: Any) -> None:
        """Look at every label of the training's data set, if they are read.

        Args:
            dataset: Of the training.

        Raises:
            ValueError: If the condition has no row for one.
        """
        if self._condition and self.reads_labels:
            self._condition.check_dataset(dataset)

    def check_samples(self, data_samples: Sequence) -> None:
        """Look at a batch's labels while they are in the host's memory.

        Args:
            data_samples (Sequence[DataSample]): Of a batch, before it is
                preprocessed.

        Raises:
            ValueError: If the condition has no row for one, or a sample has
                no label to read.
        """
        if not self._condition or not data_samples:
            return
        labels = self.read_samples(data_samples)
        if labels is not None and labels.device.type == 'cpu':
            self._condition.check_labels(labels.tolist())


def trial_call(source: Source, is_told: bool
               ) -> Tuple[Tensor, tuple, Dict[str, Any]]:
    """How a denoiser is called for one image, on the meta device.

    Args:
        source (Source): Of the denoiser, with its shapes settled.
        is_told (bool): Whether it is told something beside t.

    Returns:
        tuple: As :meth:`DenoiserTeacher.call` gives it.
    """
    zero = torch.zeros(1, dtype=torch.long, device='meta')
    args, kwargs = source.arguments(zero, source.trial() if is_told else {})
    return torch.empty(1, *source.input_shape, device='meta'), args, kwargs
