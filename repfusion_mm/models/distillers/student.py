"""What settles a student: its taps, and what makes features of its outputs."""
from typing import Any, Callable, Dict, NamedTuple, Optional, Sequence, Tuple

import torch
from torch import Tensor, nn

from ..utils.building import build_part
from ..utils.compiling import (
    begin_step,
    compile_between_taps,
    has_cuda_graphs,
)
from ..utils.nearest import nearest
from ..utils.taps import Taps
from .trial import Trial


class Student(NamedTuple):
    """What is known of a student before the first step.

    Attributes:
        taps (Taps): Its own.
        regressor (nn.Module, optional): What makes features of its outputs.
        shapes (dict[str, tuple]): Of each feature that a connection taps,
            without the batch.
    """
    taps: Taps
    regressor: Optional[nn.Module]
    shapes: Dict[str, Tuple[int, ...]]


def settle_student(trial: Trial, regressor: Optional[dict],
                   paths: Sequence[str]) -> Student:
    """Settle what the connections tap, by what a trial image came out as.

    Args:
        trial (Trial): What the student made of it.
        regressor (dict, optional): Config of what makes features of it.
        paths (Sequence[str]): The taps of the connections.

    Returns:
        Student: All of them have a shape.

    Raises:
        ValueError: If one does not exist, or the regressor does not take what
            the student gives.
    """
    shapes, built = dict(trial.taps.shapes), None
    if regressor is not None:
        built = _build_regressor(regressor, trial.output)
        shapes.update((tap, tuple(feature.shape[1:])) for tap, feature
                      in _try_regressor(built, trial.output).items())
        built.train()
    for path in paths:
        if path not in shapes:
            raise ValueError(
                f'`connections.student_tap` names {path!r}, but '
                + ('there is no `regressor`' if regressor is None else
                   f'`regressor` gives {nearest(path, shapes)}'))
    return Student(trial.taps, built, shapes)


def prepare_student(model: Any, backbone: Any,
                    prefix: str = '') -> None:
    """Lay out and compile the student as the config says.

    Args:
        model (Distiller): Its taps are settled.
        backbone (nn.Module): The student, without what lies behind it.
        prefix (str): Of its modules' paths in the student taps. Defaults to
            ``''``.
    """
    if model.channels_last:
        backbone.to(memory_format=torch.channels_last)
    if model.compile_options is not None:
        compile_between_taps(
            backbone, [tap[len(prefix):] for tap in model.taps.paths
                       if tap.startswith(prefix)], model.compile_options)
    if has_cuda_graphs(model.compile_options):
        model.register_forward_pre_hook(begin_step)


def regress(regressor: Optional[Callable[..., Any]],
            output: Any) -> Dict[str, Tensor]:
    """The regressor's features of a student's output.

    Args:
        regressor (nn.Module, optional): None makes none.
        output (Any): Of the student.

    Returns:
        dict[str, Tensor]: By tap, ``regressor.<i>``.
    """
    if regressor is None:
        return {}
    return {f'regressor.{index}': feature for index, feature
            in enumerate(_as_tuple(regressor(_as_tuple(output))))}


def check_gradients(student: nn.Module, features: Dict[str, Tensor]) -> None:
    """Refuse a feature from which the student would learn nothing.

    Args:
        student (nn.Module): What the taps are rooted at.
        features (dict[str, Tensor]): By tap.

    Raises:
        ValueError: If that of a layer which is trained has no gradient.
    """
    for tap, feature in features.items():
        if torch.is_grad_enabled() and not feature.requires_grad and \
                _is_trained(student, tap):
            raise ValueError(
                f'`connections.student_tap` names {tap!r}, whose feature '
                'has no gradient, so that the student would learn nothing '
                'from it: it lies inside a block that is computed once '
                'more in the backward pass (`with_cp=True`); tap the '
                'whole block')


def _build_regressor(cfg: dict, output: Any) -> nn.Module:
    given = _as_tuple(output)
    if not all(isinstance(feature, Tensor) for feature in given):
        raise ValueError(
            '`regressor` takes tensors, but the student gives '
            f'{[type(feature).__name__ for feature in given]}; tap its '
            'modules without a regressor')
    return build_part(
        'regressor', cfg,
        in_channels=[feature.size(1) for feature in given]).eval()


def _try_regressor(regressor: nn.Module, output: Any) -> Dict[str, Tensor]:
    try:
        with torch.no_grad():
            return regress(regressor, output)
    except Exception as error:  # in the words of whatever it is
        raise ValueError(
            f'`regressor` {type(regressor).__name__} does not take '
            'what the student gives, of shapes '
            f'{[tuple(feature.shape) for feature in _as_tuple(output)]}: '
            f'{error}') from error


def _is_trained(student: nn.Module, tap: str) -> bool:
    """Whether the tapped module, or the first around it that could, learns."""
    while True:
        parameters = [] if tap.startswith('out.') else list(
            student.get_submodule(tap).parameters())
        if parameters or not tap:
            return any(p.requires_grad for p in parameters)
        tap = tap.rpartition('.')[0]


def _as_tuple(output: Any) -> tuple:
    return tuple(output) if isinstance(output, (tuple, list)) else (output, )
