"""Reading a denoiser from a diffusers folder or hub id, whole or not."""
from typing import Any, Optional

import torch
from mmengine.logging import print_log
from torch import nn

from repfusion_mm.models.dpm.build_denoiser import build_denoiser

from .base import Source
from .ddpm_scheduler import read_scheduler
from .files import Files, find_denoiser, read_json
from .pixel_pipeline import check_pixels
from .weights import read_weights


class DiffusersFolder(Source):
    """Where :class:`UNetTeacher`'s denoiser comes from.

    Args:
        pretrained (str, optional): Folder or hub id. None: random weights.
        config (dict, optional): Config of the denoiser. None: the one in the
            folder, which must then be readable now.
        variant (str, optional): Of the weights. Defaults to None.
        revision (str, optional): On the hub. Defaults to None.

    Attributes:
        config (dict): Arguments of ``UNet2DModel``.
        scheduler (diffusers.DDPMScheduler): The noise schedule.

    Raises:
        ValueError: If both are None.
    """
    def __init__(self,
                 pretrained: Optional[str],
                 config: Optional[dict],
                 variant: Optional[str] = None,
                 revision: Optional[str] = None) -> None:
        if pretrained is None and config is None:
            raise ValueError('`teacher` needs `pretrained` (a folder or hub '
                             'id), `config`, or both')
        for key, value in (('variant', variant), ('revision', revision)):
            if pretrained is None and value is not None:
                raise ValueError(f'`teacher.{key}` is {value!r}, but without '
                                 '`teacher.pretrained` no weights are read')
        self.pretrained = pretrained
        self.variant, self.revision = variant, revision
        if config is None:
            assert pretrained is not None  # or there is a config
            self.key = 'teacher.pretrained'
            files, prefix = find_denoiser(pretrained, revision)
            self.config = read_config(files, prefix)
            check_pixels(files)
            self.scheduler = read_scheduler(files, prefix)
        else:
            from diffusers import DDPMScheduler
            self.key = 'teacher.config'
            self.config, self.scheduler = dict(config), DDPMScheduler()

    def build(self) -> Any:
        """The denoiser with random weights."""
        return self._build(self.config, self.key)

    def read(self) -> nn.Module:
        """The denoiser with its weights, and its scheduler.

        Returns:
            diffusers.UNet2DModel: In float32, on the CPU.

        Raises:
            OSError: If the folder or hub id cannot be read, or its weights
                are absent, truncated, or do not fit.
            ValueError: If the folder says something else than ``config``, or
                is of another kind than :class:`UNetTeacher` takes.
        """
        if self.pretrained is None:
            print_log('The teacher has random weights: `teacher.config` was '
                      'given and not `teacher.pretrained`', 'current',
                      level=30)
            return self.build()
        files, prefix = find_denoiser(self.pretrained, self.revision)
        config = read_config(files, prefix)
        if self.key == 'teacher.config':
            check_pixels(files)
            scheduler = read_scheduler(files, prefix)
            self._compare(config, scheduler)
            self.scheduler = scheduler
        with torch.device('meta'):
            denoiser = self._build(config, 'teacher.pretrained')
        return read_weights(denoiser, files, prefix, self.variant)

    def _build(self, config: dict, key: str) -> Any:
        return build_denoiser(
            config, key, self.scheduler.config.num_train_timesteps,
            conditional=True)

    def _compare(self, config: dict, scheduler: Any) -> None:
        """Refuse a folder whose denoiser is not the one of the config."""
        with torch.device('meta'):  # fills in what either leaves out
            ours = self.build().config
            theirs = self._build(config, 'teacher.pretrained').config
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


def read_config(files: Files, prefix: str) -> dict:
    """Config of a denoiser, before its weights are needed.

    Args:
        files (Files): Of the pipeline.
        prefix (str): Of the denoiser's files in it.

    Returns:
        dict: Arguments of ``UNet2DModel``.

    Raises:
        OSError: If it cannot be read.
        ValueError: If what is there is no ``UNet2DModel``.
    """
    from diffusers import UNet2DModel
    config = read_json(files, f'{prefix}config.json')
    found = config.get('_class_name')
    if found != 'UNet2DModel':
        raise ValueError(f'`teacher.pretrained` is {files.where!r}, a '
                         f'{found}; UNetTeacher takes a UNet2DModel')
    # as `from_pretrained` does: keys of a newer diffusers are left out
    return UNet2DModel.extract_init_dict(config)[0]


def _as_list(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
