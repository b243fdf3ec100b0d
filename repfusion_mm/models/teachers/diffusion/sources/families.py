"""Which source reads which class of diffusers."""
from typing import Callable, Dict, Type

from repfusion_mm.models.utils.nearest import nearest

from .base import Source
from .layout import Layout

FAMILIES: Dict[str, Type[Source]] = {}


def family(*names: str) -> Callable[[Type[Source]], Type[Source]]:
    """Register a source for what :meth:`Layout.keys` calls a family.

    Args:
        *names (str): Classes of diffusers, such as
            ``'UNet2DConditionModel'``, or pairs such as
            ``'UNet2DModel+VQModel'``.

    Returns:
        Callable: The decorator.
    """
    def register(source: Type[Source]) -> Type[Source]:
        FAMILIES.update(dict.fromkeys(names, source))
        return source

    return register


def find_family(layout: Layout) -> Type[Source]:
    """The family of a folder.

    Args:
        layout (Layout): The folder.

    Returns:
        type: A source, built with the layout and the options of
        :class:`DiffusionTeacher`.

    Raises:
        ValueError: If no family reads it; the nearest are named.
    """
    keys = list(layout.keys())
    for key in keys:
        if key in FAMILIES:
            return FAMILIES[key]
    known = sorted(name for name in FAMILIES if '+' not in name)
    raise ValueError(
        f'`teacher.pretrained` is {layout.pretrained!r}, a '
        f'{layout.class_name}, which DiffusionTeacher does not know; nearest: '
        f'{nearest(layout.class_name, known)}; it knows {", ".join(known)}')
