"""An endless order of no images is an error, and not an endless loop."""
from typing import Any, Iterator

from mmengine.dataset import InfiniteSampler


def refuse_empty_order() -> None:
    """Have MMEngine's ``InfiniteSampler`` refuse an empty data set.

    It would look for the first image for ever, already where the loop of the
    training is built and its workers are given something to do.
    """
    if hasattr(InfiniteSampler.__iter__, 'refuses_empty'):
        return
    begin = InfiniteSampler.__iter__

    def refuse(self: Any) -> Iterator[int]:
        if self.size == 0:
            raise ValueError(
                '`dataset` of a dataloader whose sampler is InfiniteSampler '
                'is empty: no image was found where its config says')
        return begin(self)

    refuse.refuses_empty = True  # type: ignore[attr-defined]
    InfiniteSampler.__iter__ = refuse
