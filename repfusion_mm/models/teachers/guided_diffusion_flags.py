"""guided-diffusion's flags, and the denoiser that they describe."""
import math
from typing import Dict, List, Optional

from torch import nn

from ..dpm.build_denoiser import build_denoiser
from ..nearest import nearest

NUM_CLASSES = 1000  # ImageNet's, whenever `class_cond`
GROUPS = 32  # of its group norms
# the defaults of guided-diffusion's own scripts
FLAGS = dict(
    image_size=64,
    num_channels=128,
    num_res_blocks=2,
    channel_mult=(),  # settled by the image size
    attention_resolutions=(16, 8),
    num_heads=4,
    num_head_channels=-1,  # as many as `num_heads` leaves to each
    resblock_updown=False,
    use_scale_shift_norm=True,
    use_new_attention_order=False,
    class_cond=False,
    learn_sigma=False,
    noise_schedule='linear')
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
            the preset's. Sequences may be written as there, ``'32,16,8'``.

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
        if name not in FLAGS:
            raise ValueError(f'guided-diffusion has no flag `{name}`; '
                             f'nearest: {nearest(name, FLAGS)}')
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
    for width in _attended_channels(settled):
        heads = num_heads(settled, width)
        if heads < 1 or width % heads or (
                settled['num_head_channels'] not in (-1, width // heads)):
            raise ValueError(
                f'{width} channels cannot be split into heads by `num_heads` '
                f'{settled["num_heads"]} and `num_head_channels` '
                f'{settled["num_head_channels"]}')
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


def num_heads(flags: dict, channels: int) -> int:
    """Number of attention heads at a level of so many channels."""
    if flags['num_head_channels'] == -1:
        return flags['num_heads']
    return channels // flags['num_head_channels']


def beyond_diffusers(flags: dict) -> List[str]:
    """Why a diffusers config cannot say what the flags say; empty if it can.

    Args:
        flags (dict): As :func:`settle_flags` returns them.

    Returns:
        list[str]: The reasons.
    """
    reasons = []
    widths = _head_widths(flags)
    if len(widths) > 1:
        reasons.append(
            f'its attention has {flags["num_heads"]} heads at every level, '
            f'so that their width differs by level ({sorted(widths)}), and '
            'UNet2DModel has one `attention_head_dim` for all')
    first, base = level_channels(flags)[0], flags['num_channels']
    if first != base:
        reasons.append(
            f'its `channel_mult` starts with {flags["channel_mult"][0]}, so '
            f'that the time step is embedded in {base} channels and the '
            f'first level has {first}, and UNet2DModel has one number for '
            'both')
    return reasons


def diffusers_config(flags: dict) -> Dict[str, object]:
    """The config of ``UNet2DModel`` that the flags describe.

    What :func:`beyond_diffusers` names is not in it, but every weight but
    those of the time step's embedding has the right shape.

    Args:
        flags (dict): As :func:`settle_flags` returns them.

    Returns:
        dict: Arguments of ``UNet2DModel``.
    """
    names = ('ResnetDownsampleBlock2D', 'ResnetUpsampleBlock2D') \
        if flags['resblock_updown'] else ('DownBlock2D', 'UpBlock2D')
    down, up = ([attention if attended else name for attended in order]
                for name, attention, order in
                zip(names, ('AttnDownBlock2D', 'AttnUpBlock2D'),
                    (attends(flags), attends(flags)[::-1])))
    resampling = 'resnet' if flags['resblock_updown'] else 'conv'
    return dict(
        sample_size=flags['image_size'],
        in_channels=3,
        out_channels=6 if flags['learn_sigma'] else 3,
        down_block_types=down,
        up_block_types=up,
        block_out_channels=level_channels(flags),
        layers_per_block=flags['num_res_blocks'],
        downsample_type=resampling,
        upsample_type=resampling,
        attention_head_dim=math.gcd(*_head_widths(flags)),
        norm_num_groups=GROUPS,
        # else the middle's attention has no norm beside `scale_shift`
        attn_norm_num_groups=GROUPS,
        norm_eps=1e-5,
        resnet_time_scale_shift='scale_shift'
        if flags['use_scale_shift_norm'] else 'default',
        num_class_embeds=NUM_CLASSES if flags['class_cond'] else None)


def build_guided_denoiser(flags: dict) -> nn.Module:
    """The denoiser that the flags describe, with random weights.

    Args:
        flags (dict): As :func:`settle_flags` returns them.

    Returns:
        diffusers.UNet2DModel: Changed where a config cannot say it; see
        :func:`beyond_diffusers`.
    """
    from diffusers.models.attention_processor import Attention
    from diffusers.models.embeddings import TimestepEmbedding, Timesteps
    denoiser = build_denoiser(diffusers_config(flags), 'teacher',
                              conditional=True)
    for module in denoiser.modules():
        if isinstance(module, Attention):
            module.heads = num_heads(flags, module.to_q.in_features)
    base = flags['num_channels']
    if level_channels(flags)[0] != base:
        width = 4 * base
        denoiser.time_proj = Timesteps(base, True, 0)
        denoiser.time_embedding = TimestepEmbedding(base, width)
        if flags['class_cond']:
            denoiser.class_embedding = nn.Embedding(NUM_CLASSES, width)
        for module in denoiser.modules():
            if hasattr(module, 'time_emb_proj'):
                module.time_emb_proj = nn.Linear(
                    width, module.time_emb_proj.out_features)
    return denoiser


def _attended_channels(flags: dict) -> set:
    widths = level_channels(flags)
    return {width for width, attended in zip(widths, attends(flags))
            if attended} | {widths[-1]}  # the middle always attends


def _head_widths(flags: dict) -> set:
    return {width // num_heads(flags, width)
            for width in _attended_channels(flags)}


def _checked(name: str, value):
    """A flag's value, of the type that its default has."""
    default = FLAGS[name]
    if name == 'noise_schedule':
        if value not in BETA_SCHEDULES:
            raise ValueError(f'`{name}` is {value!r}, expected one of '
                             f'{sorted(BETA_SCHEDULES)}')
        return value
    if isinstance(default, tuple):
        if isinstance(value, str):  # as guided-diffusion has it
            value = [_number(part) for part in value.split(',') if part]
        if isinstance(value, (list, tuple)) and all(
                isinstance(part, (int, float)) and part > 0
                for part in value):
            return tuple(value)
        raise ValueError(f'`{name}` is {value!r}, expected positive numbers, '
                         'such as (32, 16, 8) or \'32,16,8\'')
    if type(value) is not type(default) or (
            value < 1 and not (name == 'num_head_channels' and value == -1)
            and not isinstance(value, bool)):
        raise ValueError(f'`{name}` is {value!r}, expected ' + (
            'True or False' if isinstance(default, bool) else
            'a positive integer'))
    return value


def _number(text: str):
    try:
        return float(text) if '.' in text else int(text)
    except ValueError:
        return text
