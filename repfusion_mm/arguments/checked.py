"""Constructors that look at their arguments before they begin."""
import functools
import inspect
import reprlib
from typing import Any, Callable, Dict, get_type_hints

from .annotations import misfit
from .config_error import NAMELESS, ConfigError, is_nameless

SHORT = reprlib.Repr()
SHORT.maxstring = SHORT.maxother = 80


def checked(built: Any) -> Any:
    """Have a class, or a function, look at what it is given.

    A wrong argument is an error that names it, what was given, what is
    expected by the annotation, and, of a misspelt one, the nearest. Where the
    constructor fails in the words of whatever lies beneath it, the error names
    what it was given.

    Args:
        built (type or Callable): Whose parameters have annotations. A class is
            changed, and what inherits from it finds the same.

    Returns:
        type or Callable: The class itself, or a function around the function.
    """
    if not inspect.isclass(built):
        return _looking(built, built.__name__)
    cls: Any = built
    cls.__init__ = _looking(vars(cls).get('__init__') or _inherited(cls),
                            cls.__name__)
    return built


def _inherited(cls: Any) -> Callable:
    if cls.__init__ is object.__init__:  # whose signature takes anything
        return lambda self: super(cls, self).__init__()

    @functools.wraps(cls.__init__)
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        super(cls, self).__init__(*args, **kwargs)

    return init


def _looking(call: Callable, name: str) -> Callable:

    @functools.wraps(call)
    def looking(*args: Any, **kwargs: Any) -> Any:
        given = check_arguments(call, name, args, kwargs)
        try:
            return call(*args, **kwargs)
        except NAMELESS as error:
            if not is_nameless(error):
                raise
            raise ConfigError('', _of_what(name, given, error)) from error

    return looking


def _of_what(name: str, given: Dict[str, Any],
             error: BaseException) -> str:
    shown = ', '.join(f'`{key}` {SHORT.repr(value)}'
                      for key, value in given.items())
    return f': {name} cannot be built with {shown or "no arguments"}: ' \
        f'{type(error).__name__}: {error}'


def check_arguments(call: Callable, name: str, args: tuple,
                    kwargs: Dict[str, Any]) -> Dict[str, Any]:
    """Compare arguments with the parameters of what they are given to.

    Args:
        call (Callable): A function, or a constructor with ``self`` in front.
        name (str): Of the class or function, for error messages.
        args (tuple): Given by place.
        kwargs (dict): Given by name.

    Returns:
        dict: The arguments by name, without ``self``.

    Raises:
        ConfigError: If one is unknown, missing, or not what its annotation
            says.
    """
    signature = inspect.signature(call)
    check_names(signature, name, args, kwargs)
    given = dict(signature.bind(*args, **kwargs).arguments)
    hints = get_type_hints(call, include_extras=True)
    given.pop('self', None)
    for key, value in given.items():
        parameter = signature.parameters[key]
        if key not in hints or value is parameter.default or parameter.kind \
                in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
            continue
        wrong = misfit(value, hints[key])
        if wrong is not None:
            raise ConfigError(
                f'{key}{wrong.path}', f' is {SHORT.repr(wrong.value)}, but '
                f'{name} expects {wrong.expected}')
    return given


def check_names(signature: inspect.Signature, name: str, args: tuple,
                kwargs: Dict[str, Any]) -> None:
    """Whether a signature has the arguments' names, and none is missing.

    Args:
        signature (inspect.Signature): Of what they are given to.
        name (str): Of that, for error messages.
        args (tuple): Given by place.
        kwargs (dict): Given by name.

    Raises:
        ConfigError: If not.
    """
    from repfusion_mm.models.utils.nearest import nearest
    parameters = signature.parameters.values()
    places = [one.name for one in parameters if one.kind in (
        one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
    names = [one.name for one in parameters if one.kind in (
        one.KEYWORD_ONLY, one.POSITIONAL_OR_KEYWORD)]
    if not any(one.kind is one.VAR_KEYWORD for one in parameters):
        for key in kwargs:
            if key not in names:
                own = [one for one in names if one != 'self']
                raise ConfigError(key, f': {name} has no such argument' + (
                    f'; nearest: {nearest(key, own)}' if own else ', and no '
                    'other'))
    for one in parameters:
        if one.default is one.empty and one.name in names and \
                one.name not in kwargs and \
                one.name not in places[:len(args)]:
            raise ConfigError(one.name, f' is missing: {name} needs it')
