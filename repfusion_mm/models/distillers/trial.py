"""A trial image, by which a student's taps are settled."""
import copy
import math
import random
from contextlib import contextmanager
from typing import (
    Any,
    Callable,
    Iterator,
    List,
    NamedTuple,
    Optional,
    Sequence,
    Tuple,
)

import numpy as np
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..utils.taps import Taps

STRIDE = 64  # any downsampling can take its multiples
USUAL = 224, 256  # that students of a fixed size are made for
KEY = 'connections.student_tap'


class Trial(NamedTuple):
    """What a student made of a trial image.

    Attributes:
        taps (Taps): Settled.
        channels (int): Of the image.
        output (Any): Of the student.
    """
    taps: Taps
    channels: int
    output: Any


def try_student(student: nn.Module, paths: Sequence[str],
                call: Optional[Callable], data_preprocessor: nn.Module,
                sizes: Sequence[Tuple[int, int]]) -> Trial:
    """Give a trial image to a student.

    It is trained when its features are used, so that is how it is tried: two
    images, on a copy that is thrown away, its batch norms as in evaluation (a
    synchronised one computes on a GPU only). Some students give other outputs
    then. Where this fails (it may leave out layers at random) it is tried as
    in evaluation. No random number is taken.

    Args:
        student (nn.Module): What the taps are rooted at.
        paths (Sequence[str]): The taps.
        call (Callable, optional): Its method that an image is given to.
        data_preprocessor (nn.Module): Of its images.
        sizes (Sequence[tuple]): Heights and widths to try, likeliest first.

    Returns:
        Trial: For the first image that it takes.

    Raises:
        ValueError: If it takes none, or a tap does not exist.
    """
    device = next(student.parameters()).device
    refused: List[Tuple[tuple, Exception]] = []
    with torch.no_grad(), _same_random_state(device):
        trained = _trained_copy(student)
        for channels in _channels(student, data_preprocessor):
            for size in sizes:
                image = torch.zeros(2, channels, *size, device=device)
                if trained is not None:
                    try:
                        return _tried(trained, paths, call, image)
                    except Exception:  # of any kind: evaluation tells more
                        pass
                with _in_evaluation(student):
                    try:
                        (call or student)(image[:1])
                    except Exception as error:
                        refused.append((tuple(image.shape[1:]), error))
                    else:
                        return _tried(student, paths, call, image[:1])
    raise _no_image(student, data_preprocessor, refused)


def trial_sizes(trial_size: Any, student: nn.Module, config: Any,
                data_preprocessor: nn.Module,
                teacher_size: Sequence[int]) -> List[Tuple[int, int]]:
    """Sizes that a student may take, likeliest first.

    Args:
        trial_size (int or Sequence[int], optional): As in the config; if it
            is given there is no other.
        student (nn.Module): Its own ``img_size`` counts next.
        config (dict): Its config, which may name an ``img_size``, too.
        data_preprocessor (nn.Module): And then the ``size`` that this pads
            to.
        teacher_size (Sequence[int]): And last this one's, rounded up.

    Returns:
        list[tuple[int, int]]: Heights and widths.

    Raises:
        ValueError: If ``trial_size`` is no size.
    """
    if trial_size is not None:
        size = _pair(trial_size)
        if size is None:
            raise ValueError(f'`trial_size` is {trial_size!r}, expected '
                             'height and width of the images in pixels, such '
                             'as (224, 224)')
        return [size]
    own = next((getattr(module, name) for module in student.modules()
                for name in ('img_size', 'init_input_size')
                if _pair(getattr(module, name, None))), None)
    sizes = [_configured(config, 'img_size'), own,
             getattr(data_preprocessor, 'size', None),
             math.ceil(max(teacher_size) / STRIDE) * STRIDE, *USUAL]
    return list(dict.fromkeys(filter(None, map(_pair, sizes))))


def _trained_copy(student: nn.Module) -> Optional[nn.Module]:
    """The student as it is trained, None if it cannot be copied."""
    try:
        student = copy.deepcopy(student)
    except Exception:  # of whatever it holds
        return None
    student.train()  # returns nothing in some backbones
    for module in student.modules():
        if isinstance(module, _BatchNorm):
            module.eval()
    return student


def _tried(student: nn.Module, paths: Sequence[str],
           call: Optional[Callable], image: torch.Tensor) -> Trial:
    if call is not None:
        call = getattr(student, call.__name__)  # of a copy, its own
    taps = Taps(student, paths, image, call=call, key=KEY)
    return Trial(taps, image.size(1), (call or student)(image))


@contextmanager
def _in_evaluation(student: nn.Module) -> Iterator[None]:
    modes = [(module, module.training) for module in student.modules()]
    student.eval()
    try:
        yield
    finally:
        student.train(dict(modes)[student])
        for module, training in modes:
            module.training = training


@contextmanager
def _same_random_state(device: torch.device) -> Iterator[None]:
    """Leaves the states of all random number generators as they were."""
    states = random.getstate(), np.random.get_state()
    devices = [device] if device.type == 'cuda' else []
    with torch.random.fork_rng(devices):
        try:
            yield
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])


def _channels(student: nn.Module, data_preprocessor: nn.Module) -> List[int]:
    """Numbers of channels that the images may have, likeliest first."""
    normalised = _length(getattr(data_preprocessor, 'mean', None))
    if normalised > 1:
        return [normalised]
    first = _first_convolution(student)
    # a first convolution may also see the image in pieces, stacked
    return list(dict.fromkeys([first.in_channels if first else 3, 3]))


def _first_convolution(student: nn.Module) -> Optional[nn.Conv2d]:
    return next((module for module in student.modules()
                 if isinstance(module, nn.Conv2d)), None)


def _length(mean: Any) -> int:
    if mean is None:
        return 0
    return mean.numel() if isinstance(mean, torch.Tensor) else len(mean)


def _no_image(student: nn.Module, data_preprocessor: nn.Module,
              refused: List[Tuple[tuple, Exception]]) -> ValueError:
    name, (shape, error) = type(student).__name__, refused[0]
    first = _first_convolution(student)
    number = _length(getattr(data_preprocessor, 'mean', None))
    if number > 1 and first is not None and first.in_channels != number:
        return ValueError(
            f'`data_preprocessor.mean` has {number} values, for images of '
            f'{number} channels, but the first convolution of the student '
            f'{name} takes {first.in_channels}: give `mean` and `std` as many '
            f'values, or set `in_channels={number}` in the backbone. Of an '
            f'image {shape} it says: {error}')
    return ValueError(
        f'the student {name} takes no trial image of '
        f'{" or ".join(str(tried) for tried, _ in refused)}: set '
        '`trial_size=(height, width)` to the size of the images that it is '
        'trained on, or mend its config, the `backbone` or `task`. Of the '
        f'first one it says: {error}')


def _pair(size: Any) -> Optional[Tuple[int, int]]:
    """Height and width, of what may be a size."""
    if isinstance(size, int):
        size = (size, size)
    if isinstance(size, (list, tuple)) and len(size) == 2 and all(
            isinstance(side, int) and side > 0 for side in size):
        return tuple(size)
    return None


def _configured(config: Any, name: str) -> Any:
    """The first value of that name in a nested config."""
    if not isinstance(config, dict):
        return None
    inner = (_configured(part, name) for part in config.values())
    return config.get(name) or next(filter(None, inner), None)
