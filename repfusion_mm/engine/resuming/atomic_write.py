"""Files that are there complete, or as they were before."""
import os
import os.path as osp
import shutil
from pathlib import Path
from typing import List, Optional, Union

from mmengine.fileio import LocalBackend, register_backend

ATOMIC = 'repfusion_mm.atomic'


def write_atomically(path: Union[str, Path], content: bytes) -> None:
    """Write a file so that nobody ever sees a part of it.

    It is written beside its place, brought to the disk, and then renamed.

    Args:
        path (str or Path): The file; its folder is made if it is not there.
        content (bytes): All of it.

    Raises:
        OSError: If that fails. The file and the reason are named, and what
            was there before still is.
    """
    path = os.fspath(path)
    folder = osp.dirname(osp.abspath(path))
    draft = f'{path}.part'
    try:
        os.makedirs(folder, exist_ok=True)
        with open(draft, 'wb') as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
        _sync_folder(folder)
    except OSError as error:
        _remove_if_there(draft)
        raise OSError(
            error.errno, f'{error.strerror or error}: {_megabytes(content)} '
            f'could not be written, with {_free(folder)} free on the disk; '
            'what was there before is unharmed', path) from error


@register_backend(ATOMIC)
class AtomicBackend(LocalBackend):
    """MMEngine's files of this machine, written atomically.

    What is to be deleted is only so by :meth:`remove_outdated`, when what
    takes its place is complete.
    """

    def __init__(self) -> None:
        self._outdated: List[str] = []

    def put(self, obj: bytes, filepath: Union[str, Path]) -> None:
        """As :func:`write_atomically`.

        Args:
            obj (bytes): All of the file.
            filepath (str or Path): Its path.
        """
        write_atomically(filepath, obj)

    def remove(self, filepath: Union[str, Path]) -> None:
        """Note that a file is outdated.

        Args:
            filepath (str or Path): Its path.
        """
        self._outdated.append(os.fspath(filepath))

    def remove_outdated(self, *kept: Optional[str]) -> None:
        """Delete what is outdated.

        Args:
            *kept (str, optional): Paths that have been written again since.
        """
        for path in self._outdated:
            if path not in kept:
                _remove_if_there(path)
        self._outdated.clear()


def _sync_folder(folder: str) -> None:
    """Bring a rename to the disk; some file systems cannot."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    except OSError:
        pass
    finally:
        os.close(handle)


def _remove_if_there(path: str) -> None:
    try:
        os.remove(path)
    except FileNotFoundError:
        pass


def _megabytes(content: bytes) -> str:
    return f'{len(content) / 1e6:,.1f} MB'


def _free(folder: str) -> str:
    try:
        return f'{shutil.disk_usage(folder).free / 1e6:,.1f} MB'
    except OSError:
        return 'an unknown space'
