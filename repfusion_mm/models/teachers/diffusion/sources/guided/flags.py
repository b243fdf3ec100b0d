"""guided-diffusion's flags, checked."""
from typing import Any, List, Optional, Tuple

from repfusion_mm.models.utils.nearest import nearest

GROUPS = 32  # of its group norms
# the defaults of guided-diffusion's own scripts
FLAGS = dict(
    image_size=64,
    num_channels=128,
    num_res_blocks=2,
    channel_mult=(),  # settled by the image size
    attention_resolutions=(16, 8),
    num_heads=4,
    num_heads_upsample=-1,  # as many as `num_heads`
    num_head_channels=-1,  # as many as `num_heads` leaves to each
    resblock_updown=False,
    use_scale_shift_norm=True,
    use_new_attention_order=False,
    class_cond=False,
    learn_sigma=False,
    diffusion_steps=1000,
    noise_schedule='linear',
    rescale_timesteps=False,
    predict_xstart=False,
    # of training and sampling, which change nothing about the features
    dropout=0.,
    use_checkpoint=False,
    use_fp16=False,
    use_kl=False,
    rescale_learned_sigmas=False,
    timestep_respacing='')
# of its networks that take a small image beside the noisy one
SUPER_RESOLUTION = ('small_size', 'large_size')
CHANNEL_MULT = {
    64: (1, 2, 3, 4),
    128: (1, 1, 2, 3, 4),
    256: (1, 1, 2, 2, 4, 4),
    512: (0.5, 1, 1, 2, 2, 4, 4)
}
BETA_SCHEDULES = dict(linear='linear', cosine='squaredcos_cap_v2')
_RELEASED = dict(
    FLAGS, num_channels=256, attention_resolutions=(32, 16, 8),
    num_head_channels=64, resblock_updown=True, class_cond=True,
    learn_sigma=True)
# the released checkpoints
PRESETS = {
    '64x64': dict(_RELEASED, num_channels=192, num_res_blocks=3,
                  use_new_attention_order=True, noise_schedule='cosine'),
    '128x128': dict(_RELEASED, image_size=128, num_head_channels=-1),
    '256x256': dict(_RELEASED, image_size=256),
    '256x256_uncond': dict(_RELEASED, image_size=256, class_cond=False),
    '512x512': dict(_RELEASED, image_size=512),
}


def settle_flags(preset: Optional[str], flags: dict) -> dict:
    """All of guided-diffusion's flags, checked.

    Args:
        preset (str, optional): A key of ``PRESETS``. None: the defaults of
            guided-diffusion's own scripts.
        flags (dict): Flags by guided-diffusion's own names, which override
            the preset's. Each may be a text, as on a command line: ``'True'``
            or ``'32,16,8'``.

    Returns:
        dict: As ``FLAGS``, with ``channel_mult`` settled.

    Raises:
        ValueError: If a name or a value is not valid, or the flags describe
            no network.
    """
    if preset is not None and preset not in PRESETS:
        raise ValueError(f'`preset` is {preset!r}; nearest: '
                         f'{nearest(preset, PRESETS)}')
    settled = dict(FLAGS if preset is None else PRESETS[preset])
    for name, value in flags.items():
        if name in SUPER_RESOLUTION:
            raise ValueError(
                f'`{name}` is a flag of guided-diffusion\'s super-resolution, '
                'whose networks take a small image beside the noisy one; '
                'take the denoiser of the small images')
        if name not in FLAGS:
            raise ValueError(
                f'guided-diffusion\'s networks and their diffusion have no '
                f'flag `{name}`; nearest: {nearest(name, FLAGS)}. Flags of '
                'its training and sampling scripts are left out')
        settled[name] = _checked(name, value)
    if not settled['channel_mult']:
        size = settled['image_size']
        if size not in CHANNEL_MULT:
            raise ValueError(
                f'`channel_mult` is needed: guided-diffusion has a default '
                f'for `image_size` in {list(CHANNEL_MULT)}, not for {size}')
        settled['channel_mult'] = CHANNEL_MULT[size]
    for width in level_channels(settled):
        if width % GROUPS or width < 1:
            raise ValueError(
                '`num_channels` times `channel_mult`, '
                f'{settled["num_channels"]} x {settled["channel_mult"]}, '
                f'gives {width} channels; a multiple of {GROUPS} is expected')
    for width in attended_channels(settled):
        for name, up in (('num_heads', False), ('num_heads_upsample', True)):
            heads = num_heads(settled, width, up)
            if heads < 1 or width % heads or (
                    settled['num_head_channels'] not in (-1, width // heads)):
                raise ValueError(
                    f'{width} channels cannot be split into heads by '
                    f'`{name}` {settled[name]} and `num_head_channels` '
                    f'{settled["num_head_channels"]}')
    last = linear_betas(settled)[1]
    if settled['noise_schedule'] == 'linear' and last > 1:
        raise ValueError(
            f'`diffusion_steps` is {settled["diffusion_steps"]}, with which '
            f'guided-diffusion\'s linear schedule ends at a beta of {last:g}, '
            'more than 1; at least 20 are expected')
    return settled


def level_channels(flags: dict) -> List[int]:
    """Number of channels of each level, the finest first."""
    return [int(mult * flags['num_channels'])
            for mult in flags['channel_mult']]


def attends(flags: dict) -> List[bool]:
    """Whether each level has attention, the finest first."""
    strides = {flags['image_size'] // resolution
               for resolution in flags['attention_resolutions']}
    return [2**level in strides
            for level in range(len(flags['channel_mult']))]


def attended_channels(flags: dict) -> set:
    """Numbers of channels that have attention."""
    widths = level_channels(flags)
    return {width for width, attended in zip(widths, attends(flags))
            if attended} | {widths[-1]}  # the middle always attends


def num_heads(flags: dict, channels: int, up: bool = False) -> int:
    """Number of attention heads at a level of so many channels.

    Args:
        flags (dict): As :func:`settle_flags` returns them.
        channels (int): The level's.
        up (bool): Whether on the way up. Defaults to False.

    Returns:
        int: The number.
    """
    if flags['num_head_channels'] != -1:
        return channels // flags['num_head_channels']
    if up and flags['num_heads_upsample'] != -1:
        return flags['num_heads_upsample']
    return flags['num_heads']


def linear_betas(flags: dict) -> Tuple[float, float]:
    """First and last beta of the linear schedule.

    It is the same noise spread over more or fewer steps than 1000.
    """
    scale = 1000 / flags['diffusion_steps']
    return scale * 0.0001, scale * 0.02


def time_scale(flags: dict) -> float:
    """What the network is told for t, by t."""
    return 1000 / flags['diffusion_steps'] if flags['rescale_timesteps'] \
        else 1.


def _checked(name: str, value: Any) -> Any:
    """A flag's value, of the type that its default has."""
    default = FLAGS[name]
    if name == 'noise_schedule':
        if value not in BETA_SCHEDULES:
            raise ValueError(f'`{name}` is {value!r}, expected one of '
                             f'{sorted(BETA_SCHEDULES)}')
        return value
    if isinstance(default, str):  # what it says is of no matter
        return str(value)
    given = _parsed(value) if isinstance(value, str) else value
    if isinstance(default, tuple):
        if isinstance(value, str):  # '8' is one of them, '' none
            value = given = [_parsed(part) for part in value.split(',')
                             if part]
        if isinstance(given, (list, tuple)) and all(
                _is_number(part, float) and part > 0 for part in given):
            return tuple(given)
        expected = 'positive numbers, such as (32, 16, 8) or \'32,16,8\''
    elif isinstance(default, bool):
        if isinstance(given, bool):
            return given
        expected = 'True or False'
    elif isinstance(default, float):
        if _is_number(given, float) and 0 <= given <= 1:
            return float(given)
        expected = 'a number from 0 to 1'
    else:
        if _is_number(given, int) and (given > 0 or given == default):
            return given
        expected = 'a positive integer'
    raise ValueError(f'`{name}` is {value!r}, expected {expected}')


def _is_number(value: Any, kind: type) -> bool:
    return isinstance(value, (int, kind)) and not isinstance(value, bool)


def _parsed(text: str) -> Any:
    """What a text of a command line stands for, itself if for nothing."""
    if text.lower() in ('true', 'false'):
        return text.lower() == 'true'
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
