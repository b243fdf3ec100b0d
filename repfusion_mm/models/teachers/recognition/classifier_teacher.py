"""An ordinary classifier as a frozen teacher, the baseline."""
import os
from typing import Dict, Optional, Sequence, Union

import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.runner import CheckpointLoader
from torch import Tensor, nn

from repfusion_mm.arguments.annotations import Size
from repfusion_mm.registry import MODELS

from ...utils.building import build_part
from ...utils.raw_images import CHANNEL_ORDERS
from ..base.frozen_teacher import FrozenTeacher
from .token_maps import TokenMaps


@MODELS.register_module()
class ClassifierTeacher(FrozenTeacher):
    """Features of a classifier that was trained on labels.

    Ordinary distillation, to hold the diffusion model against: hints,
    attention, relations, contrast, or soft labels, as the connection's loss
    says. There is no time step: the time sampler is ``FixedTime`` with t = 0.

    Args:
        model (dict or str): Config of any mmpretrain classifier, also with a
            ``TIMMBackbone``, or the path of a config file that has it as
            ``model``. Its own
            ``data_preprocessor`` tells the mean and std that it knows.
        checkpoint (str, optional): Its weights. None leaves them random, for
            tests.
        image_size (int or Sequence[int]): The images are resized to the size
            that it was trained at.
        taps (Sequence[str], optional): Module paths in the classifier, such
            as ``'backbone.layer4'``, or ``'out.0'`` for its logits. Defaults
            to those that the connections name, or else to ``'backbone'``.
            Tokens of the patches of a transformer come as maps, without the
            class token and registers.
        channel_order (str): Order of the channels that it was trained on,
            ``'rgb'`` or ``'bgr'``. Defaults to ``'rgb'``.
        dtype (str, optional): ``'float32'``, ``'float16'`` or ``'bfloat16'``
            for weights and computation. Defaults to None: float32, and
            whatever autocast says around it.
        channels_last (bool): As in :class:`UNetTeacher`.
        compile (bool or dict): As in :class:`UNetTeacher`.

    Raises:
        ValueError: If a tap does not exist; the nearest are named.

    Source: Romero et al., "FitNets: Hints for Thin Deep Nets", ICLR 2015;
    Hinton et al., "Distilling the Knowledge in a Neural Network", 2015.

    Example:
        >>> teacher = dict(
        ...     type='repfusion_mm.ClassifierTeacher',
        ...     model=dict(
        ...         type='mmpretrain.ImageClassifier',
        ...         data_preprocessor=dict(
        ...             mean=[125.307, 122.961, 113.8575],
        ...             std=[51.5865, 50.847, 51.255]),
        ...         backbone=dict(type='ResNet_CIFAR', depth=50),
        ...         neck=dict(type='GlobalAveragePooling'),
        ...         head=dict(type='LinearClsHead', num_classes=10,
        ...                   in_channels=2048)),
        ...     image_size=32,
        ...     taps=['backbone.layer4'])
    """
    num_timesteps = 1
    _mean: Tensor
    _std: Tensor

    def __init__(self,
                 model: Union[dict, str],
                 image_size: Size,
                 checkpoint: Optional[str] = None,
                 taps: Optional[Sequence[str]] = None,
                 channel_order: str = 'rgb',
                 dtype: Optional[str] = None,
                 channels_last: bool = False,
                 compile: Union[bool, dict] = False) -> None:
        if channel_order not in CHANNEL_ORDERS:
            raise ValueError(f'`teacher.channel_order` is {channel_order!r}, '
                             f'expected one of {CHANNEL_ORDERS}')
        model = _model_config(model)
        size = (image_size, image_size) if isinstance(image_size, int) \
            else tuple(image_size)
        # mmpretrain's backbones cannot be built on the meta device, but moved
        on_meta = build_part('model', model).eval().to('meta')
        super().__init__(
            on_meta, taps or ['backbone'],
            torch.empty(1, 3, *size, device='meta'), dtype=dtype,
            channels_last=channels_last, compile=compile,
            hidden=TokenMaps(on_meta, size))
        self.model = model
        self.checkpoint = checkpoint
        self.image_size = size
        self.channel_order = channel_order
        numbers = model.get('data_preprocessor') or {}
        for name, default in (('mean', 0.), ('std', 1.)):
            values = torch.tensor(numbers.get(name) or [default] * 3)
            self.register_buffer(
                f'_{name}', values.expand(3).reshape(1, 3, 1, 1).clone(),
                persistent=False)

    def read(self) -> nn.Module:
        """The classifier with its weights, every one of them."""
        classifier = build_part('model', self.model)
        if self.checkpoint is None:
            return classifier
        try:
            state = CheckpointLoader.load_checkpoint(self.checkpoint, 'cpu')
            state = state.get('state_dict', state)
        except Exception as error:  # many kinds: absent, truncated, no dict
            raise OSError(f'`teacher.checkpoint` {self.checkpoint!r} cannot '
                          f'be read: {error}') from error
        own = classifier.state_dict()
        wrong = dict(
            missing=[key for key in own if key not in state],
            surplus=[key for key in state if key not in own
                     and not key.startswith('data_preprocessor.')],
            shapes=[f'{key}: {tuple(state[key].shape)}, the config has '
                    f'{tuple(value.shape)}' for key, value in own.items()
                    if key in state and state[key].shape != value.shape])
        if any(wrong.values()):
            what = '; '.join(
                f'{len(keys)} {kind} ({", ".join(keys[:3])})'
                for kind, keys in wrong.items() if keys)
            raise ValueError(f'`teacher.checkpoint` {self.checkpoint!r} does '
                             f'not fit `teacher.model`: {what}')
        classifier.load_state_dict(state, strict=False)
        return classifier

    @torch.no_grad()
    def forward(self,
                images: Tensor,
                timesteps: Optional[Tensor] = None,
                labels: Optional[Tensor] = None) -> Dict[str, Tensor]:
        """Features of some images.

        Args:
            images (Tensor): Raw images, RGB, 0 to 255, (N, 3, H, W).
            timesteps (Tensor, optional): Not used.
            labels (Tensor, optional): Not used.

        Returns:
            dict[str, Tensor]: Float32 feature by tap, (N, C, h, w), or (N, C)
            where the tap gives vectors.
        """
        if self.channel_order == 'bgr':
            images = images.flip(1)
        if images.shape[-2:] != self.image_size:
            images = F.interpolate(images, self.image_size, mode='bilinear',
                                   align_corners=False, antialias=True)
        return self.features((images - self._mean) / self._std)


def _model_config(model: Union[dict, str]) -> dict:
    """The classifier's config, with mmpretrain's scope if it names none."""
    if isinstance(model, str):
        if not os.path.isfile(model):
            raise ValueError(f'`teacher.model` is {model!r}, expected a file '
                             'of a config, or a config')
        cfg = Config.fromfile(model)
        model = dict(cfg.model)
        model.setdefault('data_preprocessor', cfg.get('data_preprocessor'))
    model = dict(model)
    if '.' not in model.get('type', ''):
        model['type'] = f'mmpretrain.{model.get("type", "ImageClassifier")}'
    if model.get('data_preprocessor'):
        model['data_preprocessor'] = dict(
            model['data_preprocessor'], type='mmpretrain.ClsDataPreprocessor')
    return model
