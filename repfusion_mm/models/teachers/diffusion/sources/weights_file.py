"""A file of weights, in any of the formats that they come in."""
from typing import Any

from repfusion_mm.safe_loading import read_weights

LFS = b'version https://git-lfs'


def read_weights_file(path: str) -> Any:
    """What a file of weights holds, left on the disk where it can be.

    Args:
        path (str): A ``.safetensors`` file, or one that ``torch.save`` wrote.

    Returns:
        Any: A state dict, or what a trainer put around it.

    Raises:
        FileNotFoundError: If there is no such file.
        RefusedFileError: If it holds more than weights.
        Exception: Of many kinds, if it is truncated or something else.
    """
    with open(path, 'rb') as file:
        if file.read(len(LFS)) == LFS:
            raise OSError('only the pointer of Git LFS is there; `git lfs '
                          'pull` fetches the file')
    return read_weights(path, 'cpu', mmap=True)
