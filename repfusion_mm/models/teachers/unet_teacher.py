"""A diffusers denoiser as a frozen teacher."""
from contextlib import nullcontext
from typing import Dict, Optional, Sequence, Tuple, Union

import torch
from mmengine.logging import print_log
from torch import Tensor, nn

from repfusion_mm.registry import MODELS

from ..dpm.build_denoiser import build_denoiser
from ..dpm.denoiser_input import denoiser_input
from ..dpm.image_size import denoiser_size
from ..taps import Taps, modules_behind
from .diffusers_folder import read_config, read_denoiser, read_scheduler
from .frozen import Frozen

DTYPES = dict(float32=torch.float32, float16=torch.float16,
              bfloat16=torch.bfloat16)


@MODELS.register_module()
class UNetTeacher(nn.Module):
    """Features z(t) of a frozen denoiser, ``UNet2DModel`` of diffusers.

    An image and a time step go in, the features at the taps come out. The
    forward pass ends at the deepest tap, and what lies behind it is not kept.
    The denoiser is no submodule: it is in no state dict, optimiser or EMA
    copy, a deepcopy shares it, and ``.to()`` moves it.

    Channels are known as soon as the teacher is built, from the config alone;
    the weights are read in :meth:`init_weights`, which the Runner calls
    before training only.

    Args:
        pretrained (str, optional): Folder or hub id, for example
            ``'google/ddpm-cifar10-32'``, of a diffusers pipeline or model.
        config (dict, optional): Config of a ``UNet2DModel``, in place of
            ``pretrained``. Its weights are random: for tests, and to measure
            speed.
        taps (Sequence[str], optional): Module paths inside the denoiser.
            Defaults to the taps that the connections and the reward of the
            model name, or else to ``mid_block``.
        add_noise (bool): Noise the image to the level of t, by the teacher's
            own scheduler, before it is looked at. Defaults to False: the
            clean image is conditioned on t, as published.
        image_size (int or Sequence[int], optional): The images are resized to
            it. Defaults to the size that the denoiser was trained at.
        input_range (Sequence[float]): Values that the denoiser knows for
            black and for 255. Defaults to ``(-1, 1)``, diffusers'
            x / 127.5 - 1. The published CIFAR-10 runs, x / 128 - 1, have
            ``(-1, 127 / 128)``.
        dtype (str, optional): ``'float32'``, ``'float16'`` or ``'bfloat16'``
            for weights and computation. Defaults to None: float32, and
            whatever autocast says around it.

    Raises:
        ValueError: If not exactly one of ``pretrained`` and ``config`` is
            given, a tap does not exist (the nearest are named), or the image
            size does not suit the denoiser.

    Source: Yang and Wang, "Diffusion Model as Representation Learner", ICCV
    2023, section 3.

    Example:
        >>> teacher = dict(
        ...     type='repfusion_mm.UNetTeacher',
        ...     config=dict(sample_size=32, block_out_channels=(32, 64),
        ...                 down_block_types=('DownBlock2D', 'DownBlock2D'),
        ...                 up_block_types=('UpBlock2D', 'UpBlock2D')),
        ...     taps=['mid_block.resnets.1.conv2'])
    """

    def __init__(self,
                 pretrained: Optional[str] = None,
                 config: Optional[dict] = None,
                 taps: Optional[Sequence[str]] = None,
                 add_noise: bool = False,
                 image_size: Optional[Union[int, Sequence[int]]] = None,
                 input_range: Sequence[float] = (-1., 1.),
                 dtype: Optional[str] = None) -> None:
        super().__init__()
        if (pretrained is None) == (config is None):
            raise ValueError('`teacher` takes exactly one of `pretrained` (a '
                             'folder or hub id) and `config`, got '
                             f'pretrained={pretrained!r}, config={config!r}')
        if dtype is not None and dtype not in DTYPES:
            raise ValueError(f'`teacher.dtype` is {dtype!r}, expected one of '
                             f'{sorted(DTYPES)} or None')
        if len(input_range) != 2 or input_range[0] >= input_range[1]:
            raise ValueError('`teacher.input_range` must be (value of black, '
                             f'value of 255), got {input_range}')
        self.pretrained = pretrained
        self.add_noise = add_noise
        self.input_range = tuple(input_range)
        self.dtype = DTYPES[dtype] if dtype else None
        if pretrained is None:
            from diffusers import DDPMScheduler
            self.config, self.scheduler = dict(config), DDPMScheduler()
        else:
            self.config, self._subfolder = read_config(pretrained)
            self.scheduler = read_scheduler(pretrained)
        self.num_timesteps = self.scheduler.config.num_train_timesteps
        with torch.device('meta'):  # shapes without memory
            on_meta = build_denoiser(self.config, 'teacher.config').eval()
        self.in_channels = on_meta.config.in_channels
        self.image_size = denoiser_size(image_size, on_meta.config,
                                        'teacher.image_size')

        trial = (torch.empty(1, self.in_channels, *self.image_size,
                             device='meta'),
                 torch.zeros(1, dtype=torch.long, device='meta'), None, False)
        self._taps = Taps(on_meta, taps or ['mid_block'], *trial,
                          key='teacher.taps')
        self._behind = modules_behind(on_meta, self._taps, *trial)
        self._frozen: Optional[Frozen] = None
        # remembers where `.to()` put the model before the weights are read
        self.register_buffer('_device_of', torch.empty(0), persistent=False)

    @property
    def feature_shapes(self) -> Dict[str, Tuple[int, ...]]:
        """Shape of each tap's feature without the batch, (C, H, W)."""
        return self._taps.shapes

    @property
    def denoiser(self) -> Optional[nn.Module]:
        """The denoiser, cut off behind the deepest tap; None if not read."""
        return self._frozen.module if self._frozen else None

    def init_weights(self) -> None:
        """Read the weights, once.

        Raises:
            OSError: If the folder or hub id cannot be read, or its weights
                are damaged or incomplete.
        """
        if self._frozen is not None:
            return
        if self.pretrained is None:
            print_log('The teacher has random weights: `teacher.config` was '
                      'given and not `teacher.pretrained`', 'current',
                      level=30)
            denoiser = build_denoiser(self.config, 'teacher.config')
        else:
            denoiser = read_denoiser(self.pretrained, self._subfolder)
        for name in self._behind:
            parent, _, child = name.rpartition('.')
            setattr(denoiser.get_submodule(parent), child, nn.Identity())
        self._frozen = Frozen(
            denoiser.to(self._device_of.device, self.dtype))

    @torch.no_grad()
    def forward(self,
                images: Tensor,
                timesteps: Tensor,
                labels: Optional[Tensor] = None) -> Dict[str, Tensor]:
        """Features of some images at some time steps.

        Args:
            images (Tensor): Raw images, RGB, 0 to 255, (N, 3, H, W).
            timesteps (Tensor): Long, (N,), from 0 to ``num_timesteps`` - 1.
            labels (Tensor, optional): Not used by unconditional denoisers.

        Returns:
            dict[str, Tensor]: Float32 feature by tap, (N, C, h, w).
        """
        if self._frozen is None:
            raise RuntimeError('the teacher has no weights yet: the Runner '
                               'calls `init_weights()` before training')
        inputs = denoiser_input(images, self.in_channels, self.image_size,
                                self.input_range)
        if self.add_noise:
            inputs = self.scheduler.add_noise(
                inputs, torch.randn_like(inputs), timesteps)
        own_precision = nullcontext() if self.dtype is None else \
            torch.autocast(inputs.device.type, enabled=False)
        with own_precision:
            _, features = self._taps.forward(
                self.denoiser, inputs.to(self.dtype), timesteps, None, False,
                stop=True)
        return {tap: feature.float() for tap, feature in features.items()}

    def _apply(self, fn, recurse: bool = True) -> 'UNetTeacher':
        super()._apply(fn)
        if self._frozen is not None:
            self._frozen.module._apply(fn)
        return self
