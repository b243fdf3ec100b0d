"""What a diffusion model costs up to its taps, by its configs alone."""
from functools import partial
from typing import Any, Dict, NamedTuple, Sequence

import torch
from torch.utils.flop_counter import FlopCounterMode

from repfusion_mm.models.teachers.diffusion.teacher import trial_call
from repfusion_mm.models.utils.taps import Taps, drop_weights, modules_behind


class TeacherCost(NamedTuple):
    """Of one image.

    Attributes:
        params (int): Of the denoiser.
        kept (int): Of them, those in front of the deepest tap.
        share (float): Of the denoiser's operations, those in front of it.
        gflops (float): Of these, and of the autoencoder, multiply-adds
            counted as two.
        shapes (dict[str, tuple]): Of the features.
    """
    params: int
    kept: int
    share: float
    gflops: float
    shapes: Dict[str, tuple]


def teacher_cost(teacher: Any, taps: Sequence[str]) -> TeacherCost:
    """Build a teacher's denoiser on the meta device, and count.

    Args:
        teacher (DiffusionTeacher): Without weights.
        taps (Sequence[str]): Module paths inside the denoiser.

    Returns:
        TeacherCost: Of one image.
    """
    source = teacher.source
    denoiser = source.build_on_meta()
    inputs, args, kwargs = trial_call(source, teacher.is_told)
    call = partial(denoiser, **kwargs)
    found = Taps(denoiser, taps, inputs, *args, call=call,
                 hidden_first=True, hidden=source.hidden)
    flops = []
    with torch.no_grad():
        for stop in (False, True):
            with FlopCounterMode(display=False) as counter:
                found.forward(denoiser, inputs, *args, stop=stop, call=call)
            flops.append(counter.get_total_flops())
        with FlopCounterMode(display=False) as counter:
            encoder = source.build_encoder()
            if encoder is not None:
                source.encode(torch.empty(
                    1, source.image_channels, *source.image_size,
                    device='meta'), encoder)
    params = sum(p.numel() for p in denoiser.parameters())
    drop_weights(denoiser, modules_behind(denoiser, found, inputs, *args,
                                          call=call))
    kept = sum(p.numel() for p in denoiser.parameters())
    return TeacherCost(params, kept, flops[1] / flops[0],
                       (flops[1] + counter.get_total_flops()) / 1e9,
                       found.shapes)
