"""The one image format between the parts: RGB, 0 to 255."""
from typing import Any, Optional, Sequence

import torch
from torch import Tensor, nn

from .nearest import nearest
from .pixel_check import PixelCheck

CHANNEL_ORDERS = ('rgb', 'bgr')
WHITE = 255.


class RawImage(nn.Module):
    """Recovers the raw images from preprocessed batches.

    Inverts the normalisation by the preprocessor's own ``mean`` and ``std``,
    then what the pipeline did to the pixels before it, and the channel order,
    so that the teacher sees what the student sees: same crop, same mixup.
    Padding comes out as the padding value does under that inverse, within 0
    to 255 (the mean colour for a padding of zero). The first batches are
    looked at: values that are no pixels of ``range`` are refused.

    Args:
        channel_order (str): Order of the channels in the inputs, ``'rgb'`` or
            ``'bgr'``. It is explicit because a preprocessor cannot tell: it
            knows whether it swapped channels, not what it was given.
        range (Sequence[float]): Values of black and of white, as the images
            are before any normalisation: ``(0, 1)`` where torchvision's
            ``ToTensor`` is in the pipeline, ``(0, 65535)`` for 16 bit.
            Defaults to (0, 255).
        mean (Sequence[float], optional): Of a normalisation in the pipeline,
            such as torchvision's or mmcv's ``Normalize``: a value for each
            channel in the order that the student sees, or one for all.
            Defaults to None: only the preprocessor normalises.
        std (Sequence[float], optional): Likewise.
        channels (Sequence[int], optional): Which of the inputs' channels the
            teacher is shown: three, in ``channel_order``, or a single one as
            grey. Defaults to None: all, of which there are 1 or 3.
        key (str): The config key of these settings, for error messages.

    Raises:
        ValueError: If a setting is none of these.
    """

    def __init__(self,
                 channel_order: str = 'rgb',
                 range: Sequence[float] = (0, 255),
                 mean: Optional[Sequence[float]] = None,
                 std: Optional[Sequence[float]] = None,
                 channels: Optional[Sequence[int]] = None,
                 key: str = 'raw_image') -> None:
        super().__init__()
        if channel_order not in CHANNEL_ORDERS:
            near = key.rpartition('.')[0]
            raise ValueError(f'`{near and near + "."}channel_order` is '
                             f'{channel_order!r}, expected one of '
                             f'{CHANNEL_ORDERS}')
        _check_range(key, range)
        _check_normalisation(key, mean, std)
        _check_picked(key, channels)
        self.channel_order = channel_order
        self.range, self.channels, self.key = range, channels, key
        for name, values in (('mean', mean), ('std', std)):
            self.register_buffer(
                name, None if values is None else
                torch.tensor(values, dtype=torch.float32).view(-1, 1, 1),
                persistent=False)
        self._check = PixelCheck(key, range)

    def forward(self, inputs: Tensor, data_preprocessor: nn.Module) -> Tensor:
        """Raw images of a batch; of the first batches, checked.

        Args:
            inputs (Tensor): Preprocessed images, (N, C, H, W).
            data_preprocessor (nn.Module): What preprocessed them. Its
                ``mean`` and ``std`` are used where it has them.

        Returns:
            Tensor: Float, RGB, 0 to 255, (N, 3, H, W).

        Raises:
            ValueError: If they are no batch of images, have other channels
                than 1 or 3 and none are picked, or hold no pixels of
                ``range``.
        """
        images = self._levels(inputs, data_preprocessor)
        if self._check.is_needed:
            padding = getattr(data_preprocessor, 'pad_val', getattr(
                data_preprocessor, 'pad_value', None))
            padded = torch.zeros_like(images, dtype=torch.bool) \
                if padding is None else self._picked(inputs) == padding
            self._check.look(images, padded)
        return self._as_rgb(images)

    def invert(self, inputs: Tensor, data_preprocessor: nn.Module) -> Tensor:
        """As :meth:`forward`, unchecked."""
        return self._as_rgb(self._levels(inputs, data_preprocessor))

    def check_channels(self, number: int) -> None:
        """Whether the teacher can be shown images of so many channels.

        Args:
            number (int): Of channels.

        Raises:
            ValueError: If not.
        """
        if self.channels is None and number not in (1, 3):
            raise ValueError(
                f'the images have {number} channels, of which the teacher can '
                f'be shown three or one: pick them by `{self.key}=dict('
                'channels=(0, 1, 2))`, red, green and blue by their place '
                'among the student\'s, or give the student images of 3 '
                'channels, `LoadImageFromFile(color_type=\'color\')`')
        if self.channels is not None and max(self.channels) >= number:
            raise ValueError(
                f'`{self.key}.channels` is {tuple(self.channels)}, but the '
                f'images have {number} channels, 0 to {number - 1}')

    def _levels(self, inputs: Tensor, data_preprocessor: nn.Module) -> Tensor:
        """What the teacher is shown, as levels that should be 0 to 255."""
        if not isinstance(inputs, Tensor) or inputs.dim() != 4:
            raise ValueError(
                f'`data_preprocessor` {type(data_preprocessor).__name__} '
                f'gives {_described(inputs)}, but one tensor of images (N, C, '
                'H, W) is expected: take one that stacks single images, such '
                'as mmpretrain.ClsDataPreprocessor or '
                'mmengine.ImgDataPreprocessor')
        images = inputs.float()
        for whose in (data_preprocessor, self):
            images = _denormalised(images, getattr(whose, 'mean', None),
                                   getattr(whose, 'std', None))
        self.check_channels(images.size(1))
        images = self._picked(images)
        black, white = self.range
        if (black, white) != (0, WHITE):
            images = (images - black) * (WHITE / (white - black))
        return images

    def _picked(self, images: Tensor) -> Tensor:
        if self.channels is None:
            return images
        return torch.cat([images[:, i:i + 1] for i in self.channels], 1)

    def _as_rgb(self, images: Tensor) -> Tensor:
        images = images.clamp(0, WHITE)
        if images.size(1) == 1:
            return images.expand(-1, 3, -1, -1)
        return images.flip(1) if self.channel_order == 'bgr' else images


def raw_images(inputs: Tensor,
               data_preprocessor: nn.Module,
               channel_order: str = 'rgb') -> Tensor:
    """Recover raw images that were 0 to 255, unchecked.

    Args:
        inputs (Tensor): As in :class:`RawImage`.
        data_preprocessor (nn.Module): Likewise.
        channel_order (str): Likewise. Defaults to ``'rgb'``.

    Returns:
        Tensor: Float, RGB, 0 to 255, (N, 3, H, W).
    """
    return RawImage(channel_order).invert(inputs, data_preprocessor)


def build_raw_image(cfg: Optional[dict],
                    channel_order: str,
                    key: str = 'raw_image') -> RawImage:
    """A :class:`RawImage` from a config.

    Args:
        cfg (dict, optional): Its settings; None is all defaults.
        channel_order (str): Order of the channels.
        key (str): The config key, for error messages.

    Returns:
        RawImage: It.

    Raises:
        ValueError: If a setting does not exist, or is wrong.
    """
    known = ('range', 'mean', 'std', 'channels')
    if cfg is not None and not isinstance(cfg, dict):
        raise ValueError(f'`{key}` is {cfg!r}, expected a dict of {known}')
    for name in cfg or {}:
        if name not in known:
            raise ValueError(f'`{key}` has no {name!r}; nearest: '
                             f'{nearest(name, known)}')
    return RawImage(channel_order, **(cfg or {}), key=key)


def _denormalised(images: Tensor, mean: Any, std: Any) -> Tensor:
    """Times ``std`` plus ``mean``; buffers, lists, or None."""
    for values, combined in ((std, torch.mul), (mean, torch.add)):
        if values is not None:
            if not isinstance(values, Tensor):
                values = images.new_tensor(values).view(-1, 1, 1)
            images = combined(images, values)
    return images


def _described(inputs: Any) -> str:
    if isinstance(inputs, Tensor):
        return f'a tensor of shape {tuple(inputs.shape)}'
    size = f' of {len(inputs)}' if hasattr(inputs, '__len__') else ''
    return f'a {type(inputs).__name__}{size}'


def _numbers(values: Any) -> bool:
    return isinstance(values, (list, tuple)) and len(values) > 0 and all(
        isinstance(value, (int, float)) for value in values)


def _check_range(key: str, range: Any) -> None:
    if not _numbers(range) or len(range) != 2 or not range[0] < range[1]:
        raise ValueError(
            f'`{key}.range` is {range!r}, expected the values of black and of '
            'white, such as (0, 255), (0, 1) or (0, 65535)')


def _check_normalisation(key: str, mean: Any, std: Any) -> None:
    if mean is None and std is None:
        return
    if not _numbers(mean) or not _numbers(std) or len(mean) != len(std) or \
            min(std) <= 0:
        raise ValueError(
            f'`{key}.mean` is {mean!r} and `{key}.std` {std!r}: expected what '
            'a Normalize in the pipeline has, two lists of as many values, '
            'those of `std` above 0')


def _check_picked(key: str, channels: Any) -> None:
    if channels is not None and not (
            isinstance(channels, (list, tuple)) and len(channels) in (1, 3)
            and all(isinstance(i, int) and i >= 0 for i in channels)):
        raise ValueError(
            f'`{key}.channels` is {channels!r}, expected the places of three '
            'channels or of a single one, counted from 0, such as (0, 1, 2)')
