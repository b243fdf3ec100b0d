"""A batch that goes to the GPU while the last step is still computed there."""
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode


def without_waiting(data_preprocessor: nn.Module) -> None:
    """Let a data preprocessor copy to the GPU without waiting for it.

    MMEngine's, mmpretrain's, mmseg's and mmpose's copy the images, the labels
    and the order of the channels (``images[[2, 1, 0]]``) so that the host
    waits for all that the GPU was told before: at the top of every step
    for the whole last one. This holds in training and testing, however the
    preprocessor is called (DDP calls it by itself). Nothing changes on a CPU.

    Args:
        data_preprocessor (nn.Module): Any. It is changed in place.
    """
    data_preprocessor.register_forward_pre_hook(_enter)
    data_preprocessor.register_forward_hook(_leave, always_call=True)


class _WithoutWaiting(TorchFunctionMode):
    """Copies from the host do not wait while this is entered."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (),
                           kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in (Tensor.to, Tensor.cuda) and args[0].device.type == 'cpu' \
                and not any(isinstance(one, bool) for one in args):
            kwargs = {**kwargs, 'non_blocking': True}
        elif func is Tensor.__getitem__:
            image, index = args
            args = image, tuple(_sent(one, image.device) for one in index) \
                if isinstance(index, tuple) else _sent(index, image.device)
        return func(*args, **kwargs)


def _sent(index: Any, device: torch.device) -> Any:
    """Row numbers of the host's, on a device."""
    if isinstance(index, list) and all(type(one) is int for one in index):
        index = torch.tensor(index, dtype=torch.long)
    if isinstance(index, Tensor) and index.dtype == torch.long and \
            index.dim():
        return index.to(device, non_blocking=True)
    return index


_MODE = _WithoutWaiting()


def _enter(data_preprocessor: nn.Module, args: tuple) -> None:
    if _on_gpu(data_preprocessor):
        _MODE.__enter__()


def _leave(data_preprocessor: nn.Module, args: tuple, output: Any) -> None:
    if _on_gpu(data_preprocessor):
        _MODE.__exit__(None, None, None)


def _on_gpu(data_preprocessor: nn.Module) -> bool:
    device = getattr(data_preprocessor, 'device', None)
    return getattr(device, 'type', 'cpu') != 'cpu'
