"""Whether a value is what an annotation says.

As configs have them: a tuple is as good as a list, a whole number will do
where a number is asked for, and what is built already stands for its config.
"""
import collections.abc
import math
import numbers
import os
from typing import (
    Annotated,
    Any,
    NamedTuple,
    Optional,
    Sequence,
    Union,
    get_args,
    get_origin,
)


class AtLeast(NamedTuple):
    """The least value of a number.

    Attributes:
        low (float): It.
        itself (bool): Whether ``low`` is a value, too. Defaults to True.
    """
    low: float
    itself: bool = True

    def holds(self, value: Any) -> bool:
        """Whether a number is not too low."""
        return value > self.low or (self.itself and value == self.low)

    def __str__(self) -> str:
        return f'{"of at least" if self.itself else "above"} {self.low}'


class Length(NamedTuple):
    """How many entries a list has.

    Attributes:
        length (int): So many.
    """
    length: int

    def holds(self, value: Any) -> bool:
        """Whether a list has so many."""
        return len(value) == self.length

    def __str__(self) -> str:
        return f'({self.length} of them)'


Count = Annotated[int, AtLeast(1)]
Index = Annotated[int, AtLeast(0)]
Weight = Annotated[float, AtLeast(0)]
Positive = Annotated[float, AtLeast(0, itself=False)]
Pair = Annotated[Sequence[Count], Length(2)]
Range = Annotated[Sequence[float], Length(2)]
Size = Union[Count, Pair]


WORDS = {
    bool: 'True or False',
    int: 'a whole number',
    float: 'a finite number',
    str: 'a string',
    dict: 'a dict',
    type(None): 'None',
    collections.abc.Sequence: 'a list'
}
# what counts memory or seeds, and what float32 holds
LARGEST = {int: (2**32, '2**32'), float: (3.4e38, '3.4e38')}
PLAIN = (bool, numbers.Number, str, bytes, list, tuple, set, type(None))


class Misfit(NamedTuple):
    """Where a value is not what an annotation says.

    Attributes:
        path (str): Inside the value, such as ``'[1]'``; empty if it is the
            value itself.
        value (Any): What is there.
        expected (str): In words.
        too_large (bool): Whether it is a number beyond all use.
    """
    path: str
    value: Any
    expected: str
    too_large: bool = False


def misfit(value: Any, annotation: Any) -> Optional[Misfit]:
    """Where a value is not what an annotation says.

    Args:
        value (Any): Of a config.
        annotation (Any): Of a constructor's parameter. One that is not known
            here is fitted by everything.

    Returns:
        Misfit, optional: None if it fits.
    """
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        found = misfit(value, args[0])
        if found is None and not args[1].holds(value):
            found = Misfit('', value, '')
        return found and found._replace(
            expected=found.expected if found.path or found.too_large
            else words(annotation))
    if origin is Union:
        wrong = [misfit(value, one) for one in args]
        if None in wrong:
            return None
        # a list with a wrong entry is nearest to being a list, and a number
        # that is too large to being one
        return next((one for one in wrong if one and (
            one.path or one.too_large)),
                    Misfit('', value, words(annotation)))
    if isinstance(value, collections.abc.Mapping) and origin is dict:
        for key, entry in value.items():
            found = misfit(key, args[0])
            if found is not None:
                return Misfit('', key, f'{found.expected} for each key')
            found = misfit(entry, args[1])
            if found is not None:
                return found._replace(path=f'.{key}{found.path}')
        return None
    if isinstance(value, collections.abc.Sequence) and \
            not isinstance(value, (str, bytes)) and \
            origin is collections.abc.Sequence:
        for index, entry in enumerate(value):
            found = misfit(entry, args[0])
            if found is not None:
                return found._replace(path=f'[{index}]{found.path}')
        return None
    if annotation is Any:
        return None
    if annotation in LARGEST and _is(value, annotation) and \
            abs(value) > LARGEST[annotation][0]:
        return Misfit('', value, f'{words(annotation)} up to '
                      f'{LARGEST[annotation][1]}', True)
    return None if _is(value, origin or annotation) else \
        Misfit('', value, words(annotation))


def words(annotation: Any) -> str:
    """What an annotation says, in words.

    Args:
        annotation (Any): Of a constructor's parameter.

    Returns:
        str: For example ``'a whole number of at least 1, or None'``.
    """
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return f'{words(args[0])} {args[1]}'
    if origin is Union:
        return ', or '.join(words(one) for one in args)
    if origin is collections.abc.Sequence and args:
        return f'a list of {_plural(words(args[0]))}'
    return WORDS.get(origin or annotation,
                     f'a {getattr(annotation, "__name__", annotation)}')


def _plural(text: str) -> str:
    for one, several in (('a whole number', 'whole numbers'),
                         ('a finite number', 'finite numbers'),
                         ('a string', 'strings'), ('a dict', 'dicts')):
        text = text.replace(one, several)
    return text


def _is(value: Any, cls: Any) -> bool:
    if cls is bool:
        return isinstance(value, bool)
    if cls is int:
        return isinstance(value, numbers.Integral) and \
            not isinstance(value, bool)
    if cls is float:
        return isinstance(value, numbers.Real) and \
            not isinstance(value, bool) and math.isfinite(value)
    if cls is str:
        return isinstance(value, (str, os.PathLike))
    if cls is dict:  # or what was built of it
        return isinstance(value, collections.abc.Mapping) or \
            not isinstance(value, PLAIN)
    if cls is collections.abc.Sequence:
        return isinstance(value, (list, tuple, range))
    return isinstance(value, cls) if isinstance(cls, type) else True
