"""A forward pass that leaves no trace in running statistics."""
from contextlib import contextmanager
from typing import Iterable, Iterator

import torch
from torch import Tensor, nn


@contextmanager
def kept_buffers(modules: Iterable[nn.Module], others: Tensor
                 ) -> Iterator[None]:
    """Let modules compute, and put their buffers back as they were.

    They compute on copies, so that what was saved for the backward pass is not
    changed under it. A ``SyncBatchNorm`` has the statistics of all processes,
    which have to stay equal: if the others keep theirs, so does this one.

    Args:
        modules (Iterable[nn.Module]): The modules, without those inside them.
        others (Tensor): Bool, (): whether other processes keep what has been
            computed.
    """
    kept = [(module, list(module.named_buffers(recurse=False)))
            for module in modules]
    for module, buffers in kept:
        for name, buffer in buffers:
            setattr(module, name, buffer.clone())
    try:
        yield
    finally:
        for module, buffers in kept:
            for name, buffer in buffers:
                if type(module).__name__ == 'SyncBatchNorm':
                    new = getattr(module, name)
                    buffer.copy_(torch.where(others, new, buffer))
                setattr(module, name, buffer)
