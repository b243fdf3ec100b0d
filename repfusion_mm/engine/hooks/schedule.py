"""A value of the time sampler that changes linearly over training."""
from typing import Union

from repfusion_mm.arguments.checked import checked


@checked
class Schedule:
    """Takes an attribute linearly from its first value to ``end``.

    Args:
        attribute (str): Of the time sampler, for example
            ``'entropy_weight'``, or ``'max_t'`` of a range.
        end (float): The value at the end. A whole number keeps the value
            whole.
        over (float or int): A float is a share of the training, above 0 and
            up to 1; an int is a number of epochs or iterations. Defaults to
            1.0, the whole training.
        by_epoch (bool): Whether the value only changes between epochs, and an
            int counts epochs. Defaults to False.

    Raises:
        ValueError: If ``end`` is no number, or ``over`` no share and no number
            of steps.
    """

    def __init__(self,
                 attribute: str,
                 end: float,
                 over: Union[float, int] = 1.0,
                 by_epoch: bool = False) -> None:
        if isinstance(end, bool) or not isinstance(end, (int, float)):
            raise ValueError(f'`schedules.end` of {attribute!r} is {end!r}, '
                             'expected a number')
        if not isinstance(over, (int, float)) or over <= 0 or (
                isinstance(over, float) and over > 1):
            raise ValueError(
                '`schedules.over` is a share of the training (a float above 0 '
                f'and up to 1.0) or a number of steps (an int), got {over!r}')
        self.attribute = attribute
        self.end = end
        self.over = over
        self.by_epoch = by_epoch

    def value(self, start: float, step: int, max_steps: int) -> float:
        """The value at a step.

        Args:
            start (float): The value at step 0.
            step (int): Epochs or iterations done.
            max_steps (int): Those of the whole training.

        Returns:
            float: Between ``start`` and ``end``.
        """
        steps = self.over * max_steps if isinstance(self.over, float) \
            else self.over
        progress = min(1., step / steps)
        value = start + (self.end - start) * progress
        return round(value) if isinstance(self.end, int) and \
            isinstance(start, int) else value
