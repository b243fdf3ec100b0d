"""Policy networks: an image in, a score for each action out."""
from typing import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from repfusion_mm.arguments.annotations import Count
from repfusion_mm.registry import MODELS


@MODELS.register_module()
class LeNetPolicy(nn.Module):
    """The small convolutional policy as published, for images of any size.

    The image is resized to ``image_size`` first. With the defaults the network
    is the published one for CIFAR-10: 5x5 convolutions of 6 and 16 channels,
    each followed by ReLU and 2x2 pooling, then layers of 120, 84 and
    ``num_actions`` units. The published one for 64x64 images has a third
    convolution.

    Args:
        num_actions (int): Number of scores. Set by the time sampler.
        image_size (int): Side that the network looks at. Defaults to 32.
        channels (Sequence[int]): Of the convolutions. Defaults to (6, 16).

    Raises:
        ValueError: If the image is too small for so many convolutions.

    Example:
        >>> time_sampler = dict(
        ...     type='repfusion_mm.ReinforcedTime',
        ...     policy=dict(type='repfusion_mm.LeNetPolicy', image_size=64,
        ...                 channels=(6, 16, 16)))
    """

    def __init__(self,
                 num_actions: Count,
                 image_size: Count = 32,
                 channels: Sequence[Count] = (6, 16)) -> None:
        super().__init__()
        self.image_size = image_size
        layers, width, side = [], 3, image_size
        for channel in channels:
            layers += [nn.Conv2d(width, channel, 5), nn.ReLU(),
                       nn.MaxPool2d(2)]
            width, side = channel, (side - 4) // 2
        if side < 1:
            raise ValueError('`policy.image_size` of '
                             f'{image_size} is too small for {len(channels)} '
                             'convolutions of 5x5 with pooling')
        self.trunk = nn.Sequential(
            *layers, nn.Flatten(), nn.Linear(width * side**2, 120), nn.ReLU(),
            nn.Linear(120, 84), nn.ReLU())
        self.scores = nn.Linear(84, num_actions)

    def forward(self, images: Tensor) -> Tensor:
        """Scores of the actions.

        Args:
            images (Tensor): Raw images, RGB, 0 to 255, (N, 3, H, W).

        Returns:
            Tensor: Unnormalised log-probabilities, (N, num_actions).
        """
        images = images / 127.5 - 1
        size = (self.image_size, self.image_size)
        if images.shape[-2:] != size:
            images = F.interpolate(images, size, mode='bilinear',
                                   align_corners=False, antialias=True)
        return self.scores(self.trunk(images))


@MODELS.register_module()
class ConstantPolicy(nn.Module):
    """One distribution over the time steps for the whole data set.

    What a policy gains over this one, it gains by looking at the image.

    Args:
        num_actions (int): Number of scores. Set by the time sampler.

    Example:
        >>> time_sampler = dict(
        ...     type='repfusion_mm.ReinforcedTime',
        ...     policy=dict(type='repfusion_mm.ConstantPolicy'))
    """

    def __init__(self, num_actions: Count) -> None:
        super().__init__()
        self.scores = nn.Parameter(torch.zeros(num_actions))

    def forward(self, images: Tensor) -> Tensor:
        """Scores of the actions, alike for all images.

        Args:
            images (Tensor): Raw images, (N, 3, H, W).

        Returns:
            Tensor: Unnormalised log-probabilities, (N, num_actions).
        """
        return self.scores.expand(len(images), -1)
