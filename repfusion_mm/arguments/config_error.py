"""An argument that a class does not take, by its place in the config."""
from contextlib import contextmanager
from typing import Iterator


class ConfigError(TypeError, ValueError):
    """Says which key of a config is wrong, and why.

    Whoever builds a part of a config adds the part's key in front
    (:func:`under`), so that the last one to hear of it knows the whole path:
    ``connections[0].loss.temperature``.

    Args:
        path (str): Of the key, from where it was noticed.
        text (str): What is wrong, as it goes on behind the path.
    """

    def __init__(self, path: str, text: str) -> None:
        super().__init__(path, text)

    def within(self, key: str) -> None:
        """Put a key in front of the path.

        Args:
            key (str): Of the part that the error came out of.
        """
        path, text = self.args
        self.args = f'{key}.{path}' if path else key, text

    def __str__(self) -> str:
        path, text = self.args
        return f'`{path}`{text}' if path else text.lstrip(': ')


class UnknownTypeError(ConfigError, KeyError):
    """A ``type`` that is registered nowhere."""


# what a constructor may fail with that tells nothing of the config
NAMELESS = (ArithmeticError, AssertionError, AttributeError, LookupError,
            MemoryError, RuntimeError, TypeError, ValueError)


def is_nameless(error: BaseException) -> bool:
    """Whether an error comes from beneath, and names no config key.

    Args:
        error (Exception): Ours have keys in backticks; MMEngine's registries
            have names of classes in them.

    Returns:
        bool: Whether it does not.
    """
    text = str(error)
    return not isinstance(error, ConfigError) and \
        isinstance(error, NAMELESS) and \
        ('`' not in text or 'it was registered as expected' in text
         or 'must contain the key "type"' in text)


@contextmanager
def under(key: str) -> Iterator[None]:
    """What is built here is the part of that key.

    Args:
        key (str): For example ``'connections[0]'``.

    Raises:
        ConfigError: Those of the part, with the key in front, and what it
            fails with in the words of whatever lies beneath it.
    """
    try:
        yield
    except ConfigError as error:
        error.within(key)
        raise
    except NAMELESS as error:
        if not is_nameless(error):
            raise
        cls = UnknownTypeError if isinstance(error, KeyError) else ConfigError
        raise cls(key, f' cannot be built: {type(error).__name__}: '
                  f'{error}') from error
