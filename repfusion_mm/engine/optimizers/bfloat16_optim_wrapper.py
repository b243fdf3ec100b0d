"""Training in bfloat16, on GPUs and on CPUs."""
import logging
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Iterator

import torch
from mmengine.logging import print_log
from mmengine.optim import OptimWrapper
from torch import nn

from repfusion_mm.registry import OPTIM_WRAPPERS

CPUINFO = Path('/proc/cpuinfo')
# x86's tiles and vectors, and Arm's
INSTRUCTIONS = {'amx_bf16', 'avx512_bf16', 'bf16'}


@OPTIM_WRAPPERS.register_module()
class BFloat16OptimWrapper(OptimWrapper):
    """Mixed precision in bfloat16, which needs no loss scale.

    MMEngine's ``AmpOptimWrapper`` scales the loss, and reads in each step
    whether the gradients have overflown, so that the GPU is waited for. In
    bfloat16, whose range is that of float32, they do not. It also works on a
    CPU, where ``AmpOptimWrapper`` does not. Weights, gradients, the
    optimiser's state and checkpoints are float32.

    Args:
        optimizer (Optimizer): What changes the weights.
        accumulative_counts (int): Steps whose gradients are added up.
            Defaults to 1.
        clip_grad (dict, optional): As MMEngine's ``OptimWrapper`` takes it.
            Defaults to None.

    Raises:
        RuntimeError: In the first step, if the GPU has no bfloat16. A CPU
            without instructions for it is slower than in float32, and warned
            about.

    Example:
        >>> optim_wrapper = dict(
        ...     type='repfusion_mm.BFloat16OptimWrapper',
        ...     optimizer=dict(type='AdamW', lr=1e-3))
    """

    _checked = False

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """What the forward pass of a step runs in.

        Args:
            model (nn.Module): What is trained.
        """
        device = next(model.parameters()).device.type
        if not self._checked:
            _check(device)
            self._checked = True
        with super().optim_context(model), \
                torch.autocast(device, torch.bfloat16), _numpy_in_float32():
            yield


def _check(device: str) -> None:
    if device == 'cuda' and not torch.cuda.is_bf16_supported():
        raise RuntimeError(
            f'{torch.cuda.get_device_name()} has no bfloat16: '
            '`optim_wrapper.type` can be AmpOptimWrapper (`--amp` without '
            '`--amp-dtype bfloat16`), which takes float16')
    if device == 'cpu' and CPUINFO.exists() and \
            INSTRUCTIONS.isdisjoint(CPUINFO.read_text().split()):
        print_log('This CPU has no instructions for bfloat16, so that '
                  'training in it is slower than in float32', 'current',
                  level=logging.WARNING)


@contextmanager
def _numpy_in_float32() -> Iterator[None]:
    """Lets mmpose's heads count their hits.

    They do so in NumPy, which knows no bfloat16.
    """

    tensors: Any = torch.Tensor
    plain = tensors.numpy

    def numpy(self: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        return plain(self.float() if self.dtype == torch.bfloat16 else self,
                     *args, **kwargs)

    tensors.numpy = numpy
    try:
        yield
    finally:
        tensors.numpy = plain
