"""Two gradients at a shared feature, one held to the strength of the other."""
from contextlib import contextmanager
from typing import Any, Dict, Iterator, Sequence, Tuple

import torch
from torch import Tensor, nn


class _Balance(torch.autograd.Function):
    """A feature twice, whose second gradient is scaled on the way back."""

    @staticmethod
    def forward(ctx: Any, feature: Tensor, ratio: float
                ) -> Tuple[Tensor, Tensor]:
        ctx.ratio = ratio
        return feature.clone(), feature.clone()

    @staticmethod
    def backward(ctx: Any, task: Tensor, distillation: Tensor
                 ) -> Tuple[Tensor, None]:
        wide = torch.promote_types(task.dtype, torch.float32)
        norms = [gradient.to(wide).norm()
                 for gradient in (task, distillation)]
        # without labels, or where nothing is left to learn, a norm is zero
        scale = ctx.ratio * norms[0] / norms[1].clamp(min=1e-30)
        return task + distillation * scale.to(task.dtype), None


def balance(feature: Tensor, ratio: float) -> Tuple[Tensor, Tensor]:
    """A feature for a task, and the same for its distillation.

    What comes back through the second one is scaled, before the two are
    added: its norm over the batch becomes ``ratio`` times that of the first.
    So a distillation pulls at what both share in proportion to the task,
    whatever the scales of their losses. The gradients are those of one
    backward pass, so that nothing is computed twice.

    Args:
        feature (Tensor): Of any shape.
        ratio (float): At least 0.

    Returns:
        tuple[Tensor, Tensor]: Two copies.
    """
    return _Balance.apply(feature, ratio)


@contextmanager
def balanced_taps(root: nn.Module, paths: Sequence[str], ratio: float
                  ) -> Iterator[Dict[str, Tensor]]:
    """Balance what some modules give, in the forward passes inside.

    Args:
        root (nn.Module): What the paths are rooted at.
        paths (Sequence[str]): Of modules that give one tensor each.
        ratio (float): As of :func:`balance`.

    Yields:
        dict[str, Tensor]: The copies for the distillation by path, once the
        modules were called; of several calls the last one's.
    """
    copies: Dict[str, Tensor] = {}

    def hook_of(path: str) -> Any:

        def hook(module: nn.Module, inputs: Any, output: Any) -> Any:
            task, copies[path] = balance(output, ratio)
            return task

        return hook

    handles = [root.get_submodule(path).register_forward_hook(hook_of(path))
               for path in paths]
    try:
        yield copies
    finally:
        for handle in handles:
            handle.remove()


def check_balance(paths: Sequence[str], regressor: Any) -> None:
    """Refuse what has no module whose gradients could be balanced.

    Args:
        paths (Sequence[str]): The student taps.
        regressor (dict, optional): Config of what makes features of the
            student's outputs.

    Raises:
        ValueError: If there is one, or a tap is an output.
    """
    outputs = [path for path in paths if path.startswith('out.')]
    if outputs or regressor is not None:
        raise ValueError(
            '`balance` is True, which takes student taps that are modules, '
            'such as `backbone.layer4`, but '
            + (f'`connections.student_tap` names {outputs[0]!r}' if outputs
               else 'there is a `regressor`'))
