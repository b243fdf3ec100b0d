"""Reading a denoiser from a diffusers folder or hub id, whole or not."""
import os.path as osp
from typing import Optional, Tuple

from mmengine.logging import print_log
from torch import nn


def read_config(pretrained: str) -> Tuple[dict, Optional[str]]:
    """Config of a denoiser, before its weights are needed.

    Args:
        pretrained (str): Folder or hub id of a pipeline or of a bare model.

    Returns:
        tuple: The config, and the subfolder that holds the denoiser.

    Raises:
        FileNotFoundError: If there is no such folder or hub id.
        ValueError: If what is there is no ``UNet2DModel``.
    """
    from diffusers import UNet2DModel
    for subfolder in ('unet', None):  # a pipeline's layout, a bare model's
        try:
            config = UNet2DModel.load_config(pretrained, subfolder=subfolder)
            break
        except (OSError, ValueError) as error:
            reason = error
    else:
        raise FileNotFoundError(
            f'`teacher.pretrained` is {pretrained!r}, which is neither a '
            'folder with a diffusers denoiser (`config.json`, or '
            f'`unet/config.json`) nor a hub id that can be read: {reason}')
    found = config.get('_class_name')
    if found != 'UNet2DModel':
        raise ValueError(f'`teacher.pretrained` is {pretrained!r}, a {found}; '
                         'UNetTeacher takes a UNet2DModel')
    # as `from_pretrained` does: keys of a newer diffusers are left out
    config, _, _ = UNet2DModel.extract_init_dict(dict(config))
    return config, subfolder


def read_scheduler(pretrained: str):
    """The noise schedule beside a denoiser, DDPM's default if it has none.

    Args:
        pretrained (str): As for :func:`read_config`.

    Returns:
        diffusers.DDPMScheduler: Its betas and number of time steps.
    """
    from diffusers import DDPMScheduler
    for subfolder in ('scheduler', None):
        try:
            return DDPMScheduler.from_pretrained(
                pretrained, subfolder=subfolder)
        except (OSError, ValueError):
            continue
    print_log(f'{pretrained} has no scheduler config: 1000 linear steps are '
              'assumed', 'current', level=30)
    return DDPMScheduler()


def read_denoiser(pretrained: str, subfolder: Optional[str]) -> nn.Module:
    """The whole denoiser with its weights, every one of them.

    Args:
        pretrained (str): As for :func:`read_config`.
        subfolder (str, optional): As :func:`read_config` found it.

    Returns:
        diffusers.UNet2DModel: In float32, on the CPU.

    Raises:
        OSError: If the weights are absent, truncated, or do not fit.
    """
    from diffusers import UNet2DModel
    where = osp.join(pretrained, subfolder or '')
    try:
        denoiser, info = UNet2DModel.from_pretrained(
            pretrained, subfolder=subfolder, output_loading_info=True)
    except Exception as error:  # many kinds: absent, truncated, other shapes
        raise OSError(f'the weights of `teacher.pretrained` in {where!r} '
                      f'cannot be read: {error}') from error
    wrong = {key: info[key] for key in ('missing_keys', 'unexpected_keys')
             if info[key]}
    if wrong:
        raise OSError(f'the weights of `teacher.pretrained` in {where!r} do '
                      f'not fit its config: {wrong}')
    return denoiser
