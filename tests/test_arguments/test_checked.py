import copy
import inspect
import pickle
from typing import Any

import pytest

from repfusion_mm.arguments.checked import checked
from repfusion_mm.arguments.config_error import (
    ConfigError,
    UnknownTypeError,
    under,
)


class Base:

    def __init__(self, width: int, name: str = 'a', **rest: Any) -> None:
        self.width, self.name, self.rest = width, name, rest


@checked
class Own(Base):
    """With a constructor of its own."""

    def __init__(self, width: int, depth: int = 3) -> None:
        super().__init__(width)
        self.depth = 6 // depth


@checked
class Inherited(Base):
    """With the one of its base."""


@checked
class Empty:
    """With none."""


@checked
def function(width: int) -> int:
    return 2 * width


def test_built_as_ever():
    assert vars(Own(3, depth=2)) == dict(width=3, name='a', rest={}, depth=3)
    assert Inherited(3, name='b', more=1).rest == dict(more=1)
    assert isinstance(Empty(), Empty) and function(3) == 6
    assert list(inspect.signature(Own).parameters) == ['width', 'depth']
    assert pickle.loads(pickle.dumps(Own(1))).width == 1
    assert copy.deepcopy(Inherited(1)).width == 1


@pytest.mark.parametrize('call, message', [
    (lambda: Own('3'), "`width` is '3', but Own expects a whole number"),
    (lambda: Own(3, dept=2), '`dept`: Own has no such argument; nearest: '
     "'depth'"),
    (lambda: Own(), '`width` is missing: Own needs it'),
    (lambda: Own(3, depth=0), 'Own cannot be built with `width` 3, `depth` '
     '0: ZeroDivisionError'),
    (lambda: Inherited(3, name=4), '`name` is 4, but Inherited expects a '
     'string'),
    (lambda: Inherited(name='b'), '`width` is missing'),
    (lambda: Empty(a=1), '`a`: Empty has no such argument, and no other'),
    (lambda: function(width=None), '`width` is None, but function expects')])
def test_refused(call, message):
    with pytest.raises(ConfigError) as raised:
        call()
    assert message in str(raised.value)
    assert isinstance(raised.value, (TypeError, ValueError))


def test_subclass_of_a_user():

    class Mine(Own):

        def __init__(self, **kwargs):
            super().__init__(width=2, **kwargs)

    assert Mine().width == 2
    with pytest.raises(ConfigError, match='`depth` is 0.5'):
        Mine(depth=0.5)


def test_path():
    with pytest.raises(ConfigError) as raised, under('a[0]'), under('b'):
        Own('3')
    assert str(raised.value).startswith("`a[0].b.width` is '3'")
    again = pickle.loads(pickle.dumps(raised.value))
    assert str(again) == str(raised.value)


def test_words_from_beneath():
    with pytest.raises(ConfigError, match='`a.b` cannot be built: '
                                          'IndexError: list index'):
        with under('a'), under('b'):
            [][0]
    with pytest.raises(UnknownTypeError, match='`a` cannot be built: KeyErr'):
        with under('a'):
            {}['b']


def test_named_errors_stay():
    for error in (ValueError('`b` is wrong'), FileNotFoundError('x')):
        with pytest.raises(type(error)) as raised, under('a'):
            raise error
        assert raised.value is error
