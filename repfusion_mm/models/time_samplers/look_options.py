"""How a time sampler has the time steps looked at before the training."""
from typing import NamedTuple, Optional, Union

from ..utils.nearest import nearest

LOOK_REWARDS = ('labels', 'frequency', 'views')


class LookOptions(NamedTuple):
    """What ``time_sampler.look`` says.

    Attributes:
        share (float): The look takes at most this share of the teacher's
            passes of the whole training, above 0 and up to 1. Defaults to
            0.05.
        reward (str, optional): What a time step is worth: ``'labels'``, what
            a ridge regression predicts of the labels of images that are held
            out; without labels ``'frequency'``, the share of high frequencies
            in the feature map, or ``'views'``, how well an image's other view
            is found. Defaults to None: ``'labels'`` if there are any and the
            reward of the training reads them, or else ``'frequency'``, or
            ``'views'`` of features without positions.
        temperature (float): How much is left open to a policy, above 0. At 1
            a time step that is one standard error worse than the best is
            drawn 1 / e times as often; at 0.1 the policy has nearly settled
            before the first step, and the student is taught at one t from
            the start. Defaults to 1.
    """
    share: float = 0.05
    reward: Optional[str] = None
    temperature: float = 1.


def look_options(look: Union[bool, dict]) -> Optional[LookOptions]:
    """Check ``time_sampler.look``.

    Args:
        look (bool or dict): Whether to look, or :class:`LookOptions`.

    Returns:
        LookOptions, optional: None if nothing is to be looked at.

    Raises:
        ValueError: If one of them is none of these; the nearest is named.
    """
    if isinstance(look, bool) or look is None:
        return LookOptions() if look else None
    for key in look:
        if key not in LookOptions._fields:
            raise ValueError(
                f'`time_sampler.look` has {key!r}, expected some of '
                f'{LookOptions._fields}; nearest: '
                f'{nearest(key, LookOptions._fields)}')
    options = LookOptions(**look)
    if not 0 < options.share <= 1:
        raise ValueError('`time_sampler.look.share` is a share of the '
                         'teacher\'s passes, above 0 and up to 1, got '
                         f'{options.share}')
    if not options.temperature > 0:
        raise ValueError('`time_sampler.look.temperature` must be above 0, '
                         f'got {options.temperature}')
    if options.reward not in (None, *LOOK_REWARDS):
        raise ValueError(f'`time_sampler.look.reward` is {options.reward!r}, '
                         f'expected one of {LOOK_REWARDS}, or None')
    return options
