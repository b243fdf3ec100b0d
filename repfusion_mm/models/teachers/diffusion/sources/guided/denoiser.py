"""The denoiser that guided-diffusion's flags describe."""
import math
from typing import Any, Dict, List

from torch import nn

from repfusion_mm.models.dpm.build_denoiser import build_denoiser

from .flags import (
    GROUPS,
    attended_channels,
    attends,
    level_channels,
    num_heads,
    time_scale,
)

NUM_CLASSES = 1000  # ImageNet's, whenever `class_cond`


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
        up = flags['num_heads_upsample']
        reasons.append(
            f'its attention has {flags["num_heads"]} heads at every level'
            + (f' ({up} on the way up)' if up != -1 else '')
            + f', so that their width differs by level ({sorted(widths)}), '
            'and UNet2DModel has one `attention_head_dim` for all')
    if time_scale(flags) != 1:
        reasons.append(
            f'`rescale_timesteps` has its {flags["diffusion_steps"]} time '
            'steps counted as if they were 1000, and a pipeline of diffusers '
            'counts them as they are')
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


def build_guided_denoiser(flags: dict) -> Any:
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
                              flags['diffusion_steps'], conditional=True)
    for name, module in denoiser.named_modules():
        if isinstance(module, Attention):
            module.heads = num_heads(flags, module.to_q.in_features,
                                     name.startswith('up_blocks.'))
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


def _head_widths(flags: dict) -> set:
    return {width // num_heads(flags, width, up)
            for width in attended_channels(flags) for up in (False, True)}
