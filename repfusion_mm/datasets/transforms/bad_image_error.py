"""What is wrong with a file."""


class BadImageError(ValueError):
    """An image, or a mask, that cannot be used.

    Args:
        message (str): What is wrong, in words that follow the file's name.
        kind (str): The same in a word or two, by which files are counted.
    """

    def __init__(self, message: str, kind: str = '') -> None:
        super().__init__(message)  # alone: torch builds it again by that
        self.kind = kind
