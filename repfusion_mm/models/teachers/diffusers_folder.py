"""Reading a denoiser from a diffusers folder or hub id, whole or not."""
import os.path as osp
from typing import Optional, Tuple

import torch
from mmengine.logging import print_log
from torch import nn

from ..dpm.build_denoiser import build_denoiser


class DiffusersFolder:
    """Where :class:`UNetTeacher`'s denoiser comes from.

    Args:
        pretrained (str, optional): Folder or hub id. None: random weights.
        config (dict, optional): Config of the denoiser. None: the one in the
            folder, which must then be readable now.

    Attributes:
        config (dict): Arguments of ``UNet2DModel``.
        scheduler (diffusers.DDPMScheduler): The noise schedule.

    Raises:
        ValueError: If both are None.
    """

    def __init__(self, pretrained: Optional[str],
                 config: Optional[dict]) -> None:
        from diffusers import DDPMScheduler
        if pretrained is None and config is None:
            raise ValueError('`teacher` needs `pretrained` (a folder or hub '
                             'id), `config`, or both')
        self.pretrained = pretrained
        if config is None:
            self.key = 'teacher.pretrained'
            self.config, _ = read_config(pretrained)
            self.scheduler = read_scheduler(pretrained)
        else:
            self.key = 'teacher.config'
            self.config, self.scheduler = dict(config), DDPMScheduler()

    def build(self) -> nn.Module:
        """The denoiser with random weights."""
        return build_denoiser(self.config, self.key, conditional=True)

    def read(self) -> nn.Module:
        """The denoiser with its weights, and its scheduler.

        Returns:
            diffusers.UNet2DModel: In float32, on the CPU.

        Raises:
            OSError: If the folder or hub id cannot be read, or its weights
                are absent, truncated, or do not fit.
            ValueError: If the folder says something else than ``config``.
        """
        if self.pretrained is None:
            print_log('The teacher has random weights: `teacher.config` was '
                      'given and not `teacher.pretrained`', 'current',
                      level=30)
            return self.build()
        config, subfolder = read_config(self.pretrained)
        if self.key == 'teacher.config':
            scheduler = read_scheduler(self.pretrained)
            self._compare(config, scheduler)
            self.scheduler = scheduler
        return read_denoiser(self.pretrained, subfolder)

    def _compare(self, config: dict, scheduler) -> None:
        """Refuse a folder whose denoiser is not the one of the config."""
        with torch.device('meta'):  # fills in what either leaves out
            ours = self.build().config
            theirs = build_denoiser(config, 'teacher.pretrained',
                                    conditional=True).config
        for name in ours:
            # dropout does nothing in a frozen network
            if name.startswith('_') or name == 'dropout':
                continue
            if _as_list(ours[name]) != _as_list(theirs[name]):
                raise ValueError(
                    f'`teacher.config.{name}` is {ours[name]!r}, but the '
                    f'denoiser of `teacher.pretrained`, {self.pretrained!r}, '
                    f'has {theirs[name]!r}')
        known, found = (one.config.num_train_timesteps
                        for one in (self.scheduler, scheduler))
        if known != found:
            raise ValueError(
                f'the denoiser of `teacher.pretrained`, {self.pretrained!r}, '
                f'knows {found} time steps; beside `teacher.config` '
                f'{known} are expected: leave out `teacher.config`')


def _as_list(value):
    return list(value) if isinstance(value, tuple) else value


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
        # the other way of loading does not tell of surplus weights in
        # diffusers 0.30
        denoiser, info = UNet2DModel.from_pretrained(
            pretrained, subfolder=subfolder, output_loading_info=True,
            low_cpu_mem_usage=False)
    except Exception as error:  # many kinds: absent, truncated, other shapes
        raise OSError(f'the weights of `teacher.pretrained` in {where!r} '
                      f'cannot be read: {error}') from error
    wrong = {key: info[key] for key in ('missing_keys', 'unexpected_keys')
             if info[key]}
    if wrong:
        raise OSError(f'the weights of `teacher.pretrained` in {where!r} do '
                      f'not fit its config: {wrong}')
    return denoiser
