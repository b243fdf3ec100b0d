"""A diffusion model of your own, trained by the MMEngine runner."""
import copy
from typing import Dict, List, Optional, Tuple, Union

import torch
import torch.nn.functional as F
from mmengine.model import BaseModel
from torch import Tensor, nn

from repfusion_mm.arguments.annotations import Count
from repfusion_mm.registry import MODELS

from ..utils.building import build_part, preprocessor_config
from ..utils.finite_check import FiniteCheck
from ..utils.raw_images import build_raw_image
from ..utils.without_waiting import without_waiting
from .build_denoiser import build_denoiser
from .denoiser_input import denoiser_input
from .image_size import denoiser_size


@MODELS.register_module()
class DPM(BaseModel):
    """Trains a denoiser on images without labels.

    The loss is the mean squared error of the predicted noise at a time step
    drawn uniformly. :meth:`export` writes an ordinary diffusers folder, which
    :class:`UNetTeacher` and ``DDPMPipeline.from_pretrained`` load. Average
    the weights with MMEngine's ``EMAHook`` and export with
    :class:`DPMExportHook`.

    Args:
        denoiser (dict): Config of a diffusers ``UNet2DModel``, with
            ``sample_size``; images of other sizes are resized to it.
        num_timesteps (int): Length of the noise schedule. Defaults to 1000.
        beta_schedule (str): ``'linear'`` or ``'squaredcos_cap_v2'`` (cosine).
            Defaults to ``'linear'``.
        data_preprocessor (dict, optional): Any; of the type MMEngine's
            ``ImgDataPreprocessor`` if it names none. Defaults to None: the
            images come as they are, 0 to 255.
        channel_order (str): Order of the channels behind the preprocessor,
            ``'rgb'`` or ``'bgr'``. Defaults to ``'rgb'``.
        raw_image (dict, optional): What the pipeline gives, where it is not
            pixels of 0 to 255 in one or three channels: ``range``, ``mean``,
            ``std``, ``channels`` of :class:`RawImage`. Defaults to None.

    Source: Ho et al., "Denoising Diffusion Probabilistic Models", NeurIPS
    2020, algorithm 1.

    Example:
        >>> model = dict(
        ...     type='repfusion_mm.DPM',
        ...     denoiser=dict(sample_size=32, block_out_channels=(32, 64),
        ...                   down_block_types=('DownBlock2D', 'DownBlock2D'),
        ...                   up_block_types=('UpBlock2D', 'UpBlock2D')))
    """
    predicts = False

    def __init__(self,
                 denoiser: dict,
                 num_timesteps: Count = 1000,
                 beta_schedule: str = 'linear',
                 data_preprocessor: Optional[Union[dict, nn.Module]] = None,
                 channel_order: str = 'rgb',
                 raw_image: Optional[dict] = None) -> None:
        super().__init__(build_part('data_preprocessor',
                                    preprocessor_config(data_preprocessor)))
        without_waiting(self.data_preprocessor)
        from diffusers import DDPMScheduler
        self.raw_image = build_raw_image(raw_image, channel_order)
        self.finite = FiniteCheck()
        self.denoiser = build_denoiser(denoiser, 'denoiser', num_timesteps)
        config = self.denoiser.config
        if config.out_channels != config.in_channels:
            raise ValueError(
                f'`denoiser.out_channels` is {config.out_channels}, but the '
                'noise to predict has as many channels as the image, '
                f'{config.in_channels}')
        self.image_size: Tuple[int, int] = denoiser_size(
            None, config, 'denoiser.sample_size')
        try:
            self.scheduler = DDPMScheduler(
                num_train_timesteps=num_timesteps,
                beta_schedule=beta_schedule)
        except NotImplementedError as error:
            raise ValueError(
                f'`beta_schedule` is {beta_schedule!r}, expected one that '
                'diffusers\' DDPMScheduler knows, such as \'linear\' or '
                '\'squaredcos_cap_v2\'') from error

    def forward(self,
                inputs: Tensor,
                data_samples: Optional[List] = None,
                mode: str = 'loss') -> Dict[str, Tensor]:
        """Denoising loss of a batch.

        Args:
            inputs (Tensor): Preprocessed images, (N, C, H, W).
            data_samples (list, optional): Not looked at.
            mode (str): Only ``'loss'``.

        Returns:
            dict[str, Tensor]: ``loss_noise``, scalar.

        Raises:
            FloatingPointError: If the loss is not finite.
        """
        if mode != 'loss':
            raise ValueError(f'DPM only trains (mode \'loss\'), got {mode!r}; '
                             'export it and sample with diffusers')
        images = self.raw_image(inputs, self.data_preprocessor)
        images = denoiser_input(images, self.denoiser.config.in_channels,
                                self.image_size)
        noise = torch.randn_like(images)
        timesteps = torch.randint(
            self.scheduler.config.num_train_timesteps, (len(images), ),
            device=images.device)
        noisy = self.scheduler.add_noise(images, noise, timesteps)
        predicted = self.denoiser(noisy, timesteps).sample
        losses = dict(loss_noise=F.mse_loss(predicted.float(), noise))
        self.finite.check(losses)
        return losses

    def export(self, folder: str, half: bool = False) -> None:
        """Write a diffusers pipeline folder.

        Args:
            folder (str): Where to; it is created.
            half (bool): Whether to write the weights in float16, half the
                size. Defaults to False.
        """
        from diffusers import DDPMPipeline
        denoiser = copy.deepcopy(self.denoiser).half() if half else \
            self.denoiser
        DDPMPipeline(denoiser, self.scheduler).save_pretrained(folder)
