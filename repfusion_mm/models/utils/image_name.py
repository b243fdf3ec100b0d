"""What an image is known by."""
import os.path as osp
from typing import Any


def image_name(info: Any) -> Any:
    """The same for an image, whatever the pipeline has made of it.

    Args:
        info (dict or BaseDataElement): An annotation or a data sample.

    Returns:
        str or int, optional: Its ``img_path``; of an image in memory
        ``sample_idx``, its number in its own data set; None without either.
    """
    path = info.get('img_path')
    return osp.normpath(path) if path else info.get('sample_idx')
