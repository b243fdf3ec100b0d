"""A file of weights, in any of the formats that they come in."""
import zipfile
from typing import Any

import torch

LFS = b'version https://git-lfs'


def read_weights_file(path: str) -> Any:
    """What a file of weights holds, left on the disk where it can be.

    Args:
        path (str): A ``.safetensors`` file, or one that ``torch.save`` wrote.

    Returns:
        Any: A state dict, or what a trainer put around it.

    Raises:
        FileNotFoundError: If there is no such file.
        Exception: Of many kinds, if it is truncated or something else.
    """
    with open(path, 'rb') as file:
        if file.read(len(LFS)) == LFS:
            raise OSError('only the pointer of Git LFS is there; `git lfs '
                          'pull` fetches the file')
    if path.endswith('.safetensors'):
        from safetensors.torch import load_file
        return load_file(path)
    return torch.load(path, map_location='cpu', weights_only=True,
                      mmap=zipfile.is_zipfile(path))
