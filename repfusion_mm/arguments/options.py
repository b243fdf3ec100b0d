"""Values of the tools' command-line options."""
import argparse


def count(text: str) -> int:
    """A whole number of at least 1, as ``type`` of an option.

    Args:
        text (str): What was given.

    Returns:
        int: The number.

    Raises:
        argparse.ArgumentTypeError: If it is none; argparse names the option.
    """
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(
            f'{text!r}, expected a whole number of at least 1')
    return number
