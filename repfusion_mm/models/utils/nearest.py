"""Errors that name the nearest valid choice."""
import difflib
from typing import Iterable


def nearest(given: str, choices: Iterable[str], n: int = 5) -> str:
    """The choices most like what was given, as text for an error message.

    Args:
        given (str): What the user wrote.
        choices (Iterable[str]): What would have been valid.
        n (int): At most so many choices are named.

    Returns:
        str: For example ``"'mid_block', 'mid_block.resnets'"``.
    """
    choices = list(choices)
    close = difflib.get_close_matches(str(given), choices, n=n, cutoff=0.4)
    return ', '.join(repr(choice) for choice in close or choices[:n])
