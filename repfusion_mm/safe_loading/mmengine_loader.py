"""MMEngine's loading of checkpoints, by the list of what they may name."""
import os
import os.path as osp
from types import ModuleType
from typing import Any, Optional
from urllib.parse import urlparse

import mmengine.runner.checkpoint as checkpoint
import torch

from .reading import read_weights


class _Torch(ModuleType):
    """What MMEngine's loader takes for ``torch``: it, but for ``load``."""

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)

    @staticmethod
    def load(file: Any, map_location: Any = None, **how: Any) -> Any:
        """As :func:`read_weights`, whatever MMEngine asks for besides."""
        return read_weights(file, map_location)


def guard_mmengine() -> None:
    """Have MMEngine read checkpoints by our list, in all of this process.

    ``init_cfg``, ``load_from``, ``resume`` and whatever else goes through its
    ``CheckpointLoader``, of files, URLs and clouds, for models of every
    library. MMEngine unpickles anything: the maintained one falls back to
    it, the official one never asks. With this, it reads safetensors too.
    ``torch.load`` itself stays what it is for all others.

    Importing ``repfusion_mm.registry`` does this, which a config does that
    names anything of ours. Again and again it does nothing more.
    """
    if not isinstance(checkpoint.torch, _Torch):
        checkpoint.torch = _Torch('torch')
        checkpoint.load_url = _load_url


def _load_url(url: str, model_dir: Optional[str] = None,
              map_location: Any = None, progress: bool = True) -> Any:
    """As ``torch.hub.load_state_dict_from_url``, which unpickles anything."""
    folder = model_dir or osp.join(torch.hub.get_dir(), 'checkpoints')
    path = osp.join(folder, osp.basename(urlparse(url).path))
    if not osp.exists(path):
        os.makedirs(folder, exist_ok=True)
        torch.hub.download_url_to_file(url, path, progress=progress)
    return read_weights(path, map_location)
