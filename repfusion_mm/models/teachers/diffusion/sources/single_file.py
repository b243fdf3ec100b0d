"""Weights of a pipeline's parts, from its folder or from a single file."""
import os.path as osp
from typing import Any

from torch import nn

from .layout import Layout
from .weights import read_weights


def read_part(part: Any, layout: Layout, prefix: str) -> nn.Module:
    """Give a part of a pipeline its weights.

    Args:
        part (nn.Module): Without weights, on the meta device.
        layout (Layout): The folder, and maybe a single file.
        prefix (str): Of the part's files in the folder.

    Returns:
        nn.Module: The part, in float32, on the CPU.

    Raises:
        OSError: If the weights are absent, truncated, or do not fit.
        ValueError: If there is no such variant, or a choice of them; or if
            diffusers knows no single files of this class.
    """
    if layout.single_file is None:
        return read_weights(part, layout.files, prefix, layout.variant)
    cls, who = type(part), f'`teacher.pretrained`, {layout.single_file!r}'
    if not hasattr(cls, 'from_single_file'):
        raise ValueError(f'{who}: diffusers reads no single file of a '
                         f'{cls.__name__}; name a folder')
    config = layout.files.path(f'{prefix}config.json')
    try:
        found = cls.from_single_file(
            layout.single_file, config=osp.dirname(config),
            local_files_only=True)
    except Exception as error:  # many kinds: truncated, another model, ...
        raise OSError(f'{who}, cannot be read as a {cls.__name__} with the '
                      f'config {config!r}: {error}') from error
    absent = [name for name, weight in found.state_dict().items()
              if weight.is_meta]
    if absent:
        raise OSError(f'{who}, has no weights for {len(absent)} of a '
                      f'{cls.__name__} ({", ".join(absent[:3])}): it is of '
                      'another model than `teacher.config`')
    return found.float()
