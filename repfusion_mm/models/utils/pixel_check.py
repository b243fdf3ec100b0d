"""Whether what a teacher is about to be shown are images at all."""
from collections import deque
from typing import Sequence

import torch
from torch import Tensor

ENOUGH = 2  # batches that are clearly images
LONGEST = 20  # batches to wait for them, where all are dark
# in levels, 0 to 255: noise, jitter and cubic interpolation leave the range,
# images less a mean (down to -128) or of more bits (above 1000) leave it more
LOWEST, HIGHEST = -64., 446.
DARK = 8.  # a normalised image lies within plus and minus this many levels
DIM = 32.  # and one divided by small deviations within this many


class PixelCheck:
    """Refuses batches that a teacher would see as black or white squares.

    Values far outside the range are refused at once. Values that all lie next
    to black are too if they are no whole levels, as pixels of 0 to 1 and
    normalised ones are not; dark photos of 8 bit are. A batch without any
    contrast tells nothing. When two batches have been images nothing is
    looked at any more.

    A GPU is not waited for: its answer is read with one of the next batches,
    when it has arrived.

    Args:
        key (str): The config key of the range, for error messages.
        range (Sequence[float]): Values of black and of white.

    Attributes:
        is_needed (bool): Whether to look at the next batch.
    """

    def __init__(self, key: str, range: Sequence[float]) -> None:
        self.key, self.range = key, tuple(range)
        self._clear, self._binary, self._looks = 0, 0, 0
        self._on_the_way: deque = deque()

    def __deepcopy__(self, memo: dict) -> 'PixelCheck':
        return type(self)(self.key, self.range)  # an event cannot be copied

    @property
    def is_needed(self) -> bool:
        return self._clear < ENOUGH and self._looks < LONGEST

    def look(self, levels: Tensor, padding: Tensor) -> None:
        """Look at a batch.

        Args:
            levels (Tensor): 0 to 255 if all is well, (N, C, H, W).
            padding (Tensor): What of it is padding, bool, alike.

        Raises:
            ValueError: If these, or on a GPU those of a batch before, are no
                images of the range.
        """
        levels = levels.detach()
        rough = (levels - levels.round()).abs()
        numbers = torch.stack([
            levels.masked_fill(padding, torch.inf).min(),
            levels.masked_fill(padding, -torch.inf).max(),
            rough.masked_fill(padding, 0).max()])
        if numbers.device.type != 'cuda':
            self._judge(*numbers.tolist())
            return
        host = numbers.to('cpu', non_blocking=True)  # into pinned memory
        arrived = torch.cuda.Event()
        arrived.record()
        self._on_the_way.append((host, arrived))
        while self._on_the_way and self._on_the_way[0][-1].query():
            self._judge(*self._on_the_way.popleft()[0].tolist())

    def _judge(self, low: float, high: float, rough: float) -> None:
        self._looks += 1
        if low > high:  # nothing but padding
            return
        if not low <= high:
            raise ValueError('the images of a batch hold NaN behind the '
                             'inverse of the `data_preprocessor`: is one of '
                             'its `std` 0, or an image in a file broken?')
        if low < LOWEST or high > HIGHEST:
            self._refuse(low, high, 'hardly an image')
        contrast, whole = high - low > 0.01, rough < 0.02
        dark = low >= -DARK and high <= DARK or low < -0.5 and high <= DIM
        if dark and contrast and not whole:
            self._refuse(low, high, 'little but black')
        # black and white of 0 and 1 are whole levels, too; of an album of
        # photos, not all are as dark as that
        self._binary += whole and low >= 0 and high == 1
        if self._binary == LONGEST:
            self._refuse(low, high, 'little but black')
        self._clear += contrast and not dark

    def _refuse(self, low: float, high: float, seen: str) -> None:
        black, white = self.range
        low, high = (black + value * (white - black) / 255
                     for value in (low, high))
        raise ValueError(
            'the images of a batch lie between '
            f'{low:.5g} and {high:.5g} behind the inverse of the '
            f'`data_preprocessor`\'s mean and std, but `{self.key}.range` '
            f'has black at {black:g} and white at {white:g}: the teacher '
            f'would see {seen}. Either let the pipeline give pixels of that '
            'range and the `data_preprocessor` alone normalise them (leave '
            'ToTensor and Normalize out of the pipeline), or say what the '
            f'pipeline gives: `{self.key}=dict(range=(0, 1))` behind '
            'torchvision\'s ToTensor, `range=(0, 65535)` for 16 bit, and, '
            'where it normalises, the `mean=[...]` and `std=[...]` of its '
            'Normalize')
