"""Every place of a diffusion model whose features can be distilled."""
from functools import partial
from typing import Any, Dict, List, NamedTuple

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from repfusion_mm.models.teachers.diffusion.sources.hidden import first_tensor
from repfusion_mm.models.teachers.diffusion.teacher import trial_call


class TeacherTap(NamedTuple):
    """A module of a denoiser that gives a feature.

    Attributes:
        path (str): As a config names it, ``teacher_tap``.
        kind (str): Class of the module.
        shape (tuple[int, ...]): Of the feature of one image: (C, H, W) of a
            map.
        share (float): Of the denoiser's operations, those up to it.
        is_block (bool): Whether it has modules inside, and gives a map.
    """
    path: str
    kind: str
    shape: tuple
    share: float
    is_block: bool


def teacher_taps(teacher: Any) -> List[TeacherTap]:
    """Call a teacher's denoiser once, on the meta device, and look.

    Args:
        teacher (DenoiserTeacher): Such as :class:`DiffusionTeacher`; its
            weights are not needed.

    Returns:
        list[TeacherTap]: In the order in which they are reached; of a module
        that is called several times the last call counts, as in a training.

    Example:
        >>> from repfusion_mm.registry import MODELS
        >>> teacher = MODELS.build(dict(
        ...     type='repfusion_mm.DiffusionTeacher',
        ...     pretrained='configs/demo/dpm_digits'))
        >>> taps = teacher_taps(teacher)
    """
    source = teacher.source
    denoiser = source.build_on_meta()
    inputs, args, kwargs = trial_call(source, teacher.is_told)
    found: Dict[str, tuple] = {}
    counter = FlopCounterMode(display=False)

    def note(path: str, module: nn.Module, given: Any, output: Any) -> None:
        found.pop(path, None)
        feature = first_tensor(source.hidden(path, output))
        if feature is not None and feature.dim() > 1:
            found[path] = (type(module).__name__, tuple(feature.shape[1:]),
                           counter.get_total_flops(),
                           feature.dim() == 4 and any(module.children()))

    for path, module in denoiser.named_modules():
        if path:
            module.register_forward_hook(partial(note, path))
    with torch.no_grad(), counter:
        denoiser(inputs, *args, **kwargs)
    total = counter.get_total_flops()
    return [TeacherTap(path, kind, shape, flops / total, is_block)
            for path, (kind, shape, flops, is_block) in found.items()]
