"""Which class ids a mask holds, found by one pass over it."""
from typing import Tuple

import numpy as np
from torch import Tensor

COUNTED = 2**16  # ids below are counted, others sorted


def mask_ids(mask: Tensor) -> Tuple[int, ...]:
    """The ids in a mask, each once.

    A mask is looked at for several reasons before a step, so they are kept
    with it until it is changed.

    Args:
        mask (Tensor): Integers of any shape, in the host's memory.

    Returns:
        tuple[int]: Ascending.
    """
    if mask.is_inference():  # whose changes are not counted
        return _found(mask)
    version, ids = getattr(mask, '_ids', (None, ()))
    if version != mask._version:
        ids = _found(mask)
        mask._ids = mask._version, ids  # type: ignore[attr-defined]
    return ids


def _found(mask: Tensor) -> Tuple[int, ...]:
    values = mask.numpy().ravel().astype(np.int64, copy=False)
    if not values.size:
        return ()
    if values.min() >= 0 and values.max() < COUNTED:
        return tuple(np.flatnonzero(np.bincount(values)).tolist())
    return tuple(np.unique(values).tolist())
