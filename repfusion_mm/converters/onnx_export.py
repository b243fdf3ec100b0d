"""A backbone as a file of ONNX, which runs without PyTorch."""
import importlib
import importlib.util
import inspect
import warnings
from typing import Any, Dict, List, Optional, Sequence, Tuple

import torch
from torch import Tensor, nn

OPSET = 17  # the newest that torch 2.1 writes
TOLERANCE = 1e-3  # of float32, as a share of the largest value


class _Tuple(nn.Module):
    """A backbone whose outputs are a flat tuple of tensors."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, images: Tensor) -> Tuple[Tensor, ...]:
        """The outputs, one by one."""
        return tuple(_flat(self.backbone(images)))


def export_onnx(backbone: nn.Module, image_size: Tuple[int, int],
                path: str, channels: int = 3) -> Dict[str, tuple]:
    """Write a backbone as ONNX, for batches of any number of images.

    Args:
        backbone (nn.Module): In evaluation, on the CPU.
        image_size (tuple[int, int]): Height and width of the images, which
            are fixed.
        path (str): The file.
        channels (int): Of the images. Defaults to 3.

    Returns:
        dict[str, tuple]: Shape of each output, without the batch.

    Raises:
        ModuleNotFoundError: If onnx is not installed.
    """
    if importlib.util.find_spec('onnx') is None:
        raise ModuleNotFoundError('--to onnx needs onnx, which is not '
                                  'installed: pip install onnx onnxruntime')
    model = _Tuple(backbone).eval()
    images = torch.rand(2, channels, *image_size)
    with torch.no_grad():
        shapes = {f'feature{index}': tuple(feature.shape[1:])
                  for index, feature in enumerate(model(images))}
    # newer ones take another way first, which needs onnxscript
    old: Dict[str, Any] = dict(dynamo=False) if 'dynamo' in \
        inspect.signature(torch.onnx.export).parameters else {}
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # of constants that are folded
        torch.onnx.export(
            model, (images, ), path, opset_version=OPSET,
            input_names=['images'], output_names=list(shapes),
            dynamic_axes={name: {0: 'batch'} for name
                          in ['images', *shapes]}, **old)
    return shapes


def check_onnx(backbone: nn.Module, image_size: Tuple[int, int], path: str,
               channels: int = 3,
               batches: Sequence[int] = (1, 3)) -> Optional[float]:
    """Run a file of ONNX on random images, and compare it with PyTorch.

    Args:
        backbone (nn.Module): That was written.
        image_size (tuple[int, int]): Height and width of the images.
        path (str): The file.
        channels (int): Of the images. Defaults to 3.
        batches (Sequence[int]): Numbers of images. Defaults to 1 and 3.

    Returns:
        float, optional: The largest difference as a share of the largest
        value; None where onnxruntime is not installed.

    Raises:
        ValueError: If it is more than rounding.
    """
    if importlib.util.find_spec('onnxruntime') is None:
        return None
    onnxruntime: Any = importlib.import_module('onnxruntime')
    session = onnxruntime.InferenceSession(
        path, providers=['CPUExecutionProvider'])
    worst = 0.
    generator = torch.Generator().manual_seed(0)
    for number in batches:
        images = torch.randn(number, channels, *image_size,
                             generator=generator)
        with torch.no_grad():
            wanted = _flat(backbone(images))
        found = session.run(None, {'images': images.numpy()})
        for one, other in zip(wanted, found):
            scale = float(one.abs().max().clamp(min=1e-12))
            difference = (one - torch.from_numpy(other)).abs().max()
            worst = max(worst, float(difference) / scale)
    if not worst < TOLERANCE:
        raise ValueError(
            f'{path} does not compute what the backbone does: by onnxruntime '
            f'the features differ by {worst:.1e} of the largest')
    return worst


def _flat(output: Any) -> List[Tensor]:
    """All tensors in nested tuples and lists."""
    if isinstance(output, Tensor):
        return [output]
    return [tensor for one in output for tensor in _flat(one)]
