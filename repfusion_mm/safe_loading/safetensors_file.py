"""Safetensors: the format of weights that cannot hold anything else."""
import json
from collections import OrderedDict
from typing import Any, Dict

import torch
from torch import Tensor

VERSIONS = 'module_versions'


def read_safetensors(path: str, map_location: Any = None) -> Dict[str, Tensor]:
    """The tensors of a file.

    Args:
        path (str): The file.
        map_location (Any): A device, or else they come to the CPU. Defaults
            to None.

    Returns:
        dict[str, Tensor]: A state dict, with the versions of its modules
        where :func:`write_safetensors` wrote it.

    Raises:
        Exception: Of many kinds, if it is truncated or something else.
    """
    from safetensors import safe_open
    device = str(map_location) if isinstance(
        map_location, (str, torch.device)) else 'cpu'
    state: Any = OrderedDict()
    with safe_open(path, 'pt', device=device) as file:
        for name in file.keys():
            state[name] = file.get_tensor(name)
        versions = (file.metadata() or {}).get(VERSIONS)
    if versions:
        state._metadata = OrderedDict(json.loads(versions))
    return state


def write_safetensors(state: Dict[str, Tensor], path: str,
                      meta: Dict[str, str]) -> None:
    """Write a state dict.

    Args:
        state (dict[str, Tensor]): None shares memory with another.
        path (str): The file.
        meta (dict[str, str]): What else shall be said in it.
    """
    from safetensors.torch import save_file
    versions = json.dumps(getattr(state, '_metadata', {}))
    save_file({name: value.contiguous() for name, value in state.items()},
              path, {'format': 'pt', VERSIONS: versions, **meta})
