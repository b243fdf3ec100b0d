"""Whether the parts of a distillation fit together."""
from typing import Any, Sequence, Sized

from torch import Tensor, nn


def check_pairs(connections: Sequence[dict]) -> None:
    """Whether the pairs of taps are complete, and each there once.

    Args:
        connections (Sequence[dict]): Their configs.

    Raises:
        ValueError: If not.
    """
    if not connections:
        raise ValueError('`connections` is empty: the student would learn '
                         'nothing')
    if not isinstance(connections, (list, tuple)):
        raise ValueError(f'`connections` is {connections!r}, expected a list '
                         'of dicts, each with `student_tap` and `teacher_tap`')
    for index, connection in enumerate(connections):
        for key in ('student_tap', 'teacher_tap'):
            if not isinstance(connection, dict) or not isinstance(
                    connection.get(key), str):
                raise ValueError(
                    f'`connections[{index}]` has no `{key}` that is a module '
                    f'path or \'out.<i>\': {connection!r}')
    pairs = [(connection['student_tap'], connection['teacher_tap'])
             for connection in connections]
    for pair in pairs:
        if pairs.count(pair) > 1:
            raise ValueError(
                '`connections` names the same pair of taps twice, student '
                f'{pair[0]!r} and teacher {pair[1]!r}; tap another module, or '
                'keep one of them')


def check_time_sampler(sampler: Any, teacher: Any,
                       connections: Sized) -> None:
    """Whether the teacher knows all t, and there are as many as wanted.

    Args:
        sampler (nn.Module): Where t comes from.
        teacher (nn.Module): What it is given to.
        connections (Sequence): Of the two networks.

    Raises:
        ValueError: If not.
    """
    if sampler.num_ranges not in (1, len(connections)):
        raise ValueError(
            f'`time_sampler` has {sampler.num_ranges} ranges, but there are '
            f'{len(connections)} `connections`')
    if sampler.max_timestep >= teacher.num_timesteps:
        raise ValueError(
            f'`time_sampler` may draw t = {sampler.max_timestep}, but the '
            f'teacher knows 0 to {teacher.num_timesteps - 1}')


def check_reward(reward: Any, teacher: Any, sampler: Any,
                 data_preprocessor: nn.Module) -> None:
    """Whether there is a reward where one is needed, and it means something.

    Args:
        reward (nn.Module, optional): What a t was worth.
        teacher (nn.Module): Whose features it looks at.
        sampler (nn.Module): Which learns from it.
        data_preprocessor (nn.Module): Which may mix its labels.

    Raises:
        ValueError: If not.
    """
    if reward is None:
        if any(p.requires_grad for p in sampler.parameters()):
            raise ValueError(
                f'{type(sampler).__name__} learns from a reward: set '
                '`reward`, for example to repfusion_mm.ClassificationReward')
        return
    if getattr(data_preprocessor, 'batch_augments', None) and \
            reward.reads_labels:
        raise ValueError(
            '`data_preprocessor.batch_augments` mixes labels, which `reward` '
            'cannot read; leave out one of the two')
    if sampler.num_ranges > 1:
        raise ValueError('`reward` says what one t an image was worth, but '
                         '`time_sampler` has a range for each connection; '
                         'leave out one of the two')
    known = getattr(reward, 'num_timesteps', teacher.num_timesteps)
    if known != teacher.num_timesteps:
        raise ValueError(
            f'`reward.num_timesteps` is {known}, but the teacher knows '
            f'{teacher.num_timesteps}; leave it out')
    if reward.reads_labels and teacher.reads_labels and \
            not teacher.allows_label_leak:
        raise ValueError(
            '`teacher.class_condition` gives the true label to the teacher, '
            'and `reward` reads it from the teacher\'s features again: any t '
            'would look good. Use a fixed class or an average, a reward '
            'without labels, or ask for it by '
            '`class_condition=dict(..., leak_labels=True)`')


def check_bank(teacher: Any, sampler: Any, reward: Any,
               data_preprocessor: nn.Module) -> None:
    """Whether a feature bank holds all that it will be asked for.

    Args:
        teacher (nn.Module): The bank.
        sampler (nn.Module): Where t comes from.
        reward (nn.Module, optional): Which may show views of its own.
        data_preprocessor (nn.Module): Which may mix images.

    Raises:
        ValueError: If not.
    """
    if getattr(data_preprocessor, 'batch_augments', None):
        raise ValueError(
            '`data_preprocessor.batch_augments` mixes images, and a feature '
            'bank holds none of the mixtures; leave out one of the two')
    if reward is not None and reward.shows_views:
        raise ValueError(
            f'`reward` is a {type(reward).__name__}, which shows the teacher '
            'views that no feature bank holds; use another reward, or leave '
            'out the bank')
    # a sampler of one's own need not tell
    teacher.check_ranges(getattr(sampler, 'ranges', ()))


def check_channels(inputs: Any, in_channels: int,
                   preprocessed: bool = True) -> None:
    """Whether a batch has images of as many channels as the student takes.

    Args:
        inputs (Tensor or list[Tensor], optional): The images, (N, C, H, W) or
            each (C, H, W); what is neither is not looked at.
        in_channels (int): Channels that the student takes.
        preprocessed (bool): If they are not yet, grey ones may still become
            coloured. Defaults to True.

    Raises:
        ValueError: If it has not.
    """
    image = inputs[0] if isinstance(inputs, (Tensor, list)) else None
    if not isinstance(image, Tensor) or image.dim() != 3:
        return
    channels = image.size(0)
    if channels != in_channels and (preprocessed or channels != 1):
        raise ValueError(
            f'the images have {channels} channels and the student takes '
            f'{in_channels}: set `in_channels` in the backbone to what the '
            'pipeline gives, or let `LoadImageFromFile(color_type=...)` load '
            'as many')
