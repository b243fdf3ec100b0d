"""Checkpoints that are whole, and the last of them."""
import logging
import os
import os.path as osp
import zipfile
from glob import escape, glob
from typing import Iterator, Optional

from mmengine.logging import print_log

from .atomic_write import write_atomically

INTERRUPTED = 'interrupted.pth'  # of a training that was told to stop


def why_unusable(path: str) -> Optional[str]:
    """What is wrong with a checkpoint as a file, by its checksums.

    Args:
        path (str): Of a file that ``torch.save`` wrote. A folder, and a file
            that is no archive of its, are not looked at.

    Returns:
        str, optional: None if nothing is.
    """
    if osp.isdir(path):
        return None
    if not osp.isfile(path):
        return 'is not there'
    with open(path, 'rb') as file:
        begins = file.read(2)
    if begins != b'PK':
        return None if begins else 'is empty'
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except (zipfile.BadZipFile, EOFError):
        return f'is truncated, with {os.path.getsize(path):,} bytes'
    return f'is damaged in its part {damaged!r}' if damaged else None


def settle_last_checkpoint(work_dir: str, folder: str, pattern: str,
                           write: bool) -> None:
    """Let ``last_checkpoint`` name a whole checkpoint, if there is one.

    A file that is not whole gives way to the newest one that is; so does a
    ``last_checkpoint`` that is not there or empty.

    Args:
        work_dir (str): Where ``last_checkpoint`` is.
        folder (str): Where the checkpoints are.
        pattern (str): Of the names of those that can be resumed from.
        write (bool): Whether this process is the one that writes.

    Raises:
        ValueError: If a checkpoint was named, and none is whole.
    """
    record = osp.join(work_dir, 'last_checkpoint')
    named = ''
    if osp.isfile(record):
        with open(record) as file:
            named = file.read().strip()
    wrong = why_unusable(named) if named else None
    if named and wrong is None:
        return
    good = next(_whole(folder, pattern, named), None)
    if good is None:
        if named:
            raise ValueError(
                f'--resume: {named} {wrong}, and no other checkpoint in '
                f'{folder} is whole; delete {record} to begin anew')
        return
    print_log(
        (f'{named} {wrong}; the training goes on from the one before it, '
         f'{good}') if named else
        f'{record} names no checkpoint; the training goes on from {good}',
        'current', logging.WARNING)
    if write:
        write_atomically(record, good.encode())


def check_named(path: str, folder: str, pattern: str) -> None:
    """Refuse a checkpoint that was asked for and is not whole.

    Args:
        path (str): Of ``--resume PATH``.
        folder (str): Where the checkpoints of this training are.
        pattern (str): Of the names of those that can be resumed from.

    Raises:
        ValueError: If it is not; the newest that is whole is named.
    """
    wrong = why_unusable(path) if osp.exists(path) else None
    if wrong is not None:
        good = next(_whole(folder, pattern, path), None)
        raise ValueError(
            f'--resume {path}: the file {wrong}; ' +
            (f'the newest whole one is {good}' if good else
             f'no checkpoint in {folder} is whole'))


def _whole(folder: str, pattern: str, but: str) -> Iterator[str]:
    """Whole checkpoints, the newest first."""
    paths = {path for name in (pattern, INTERRUPTED)
             for path in glob(osp.join(escape(folder), name))}
    paths.discard(but)
    for path in sorted(paths, key=os.path.getmtime, reverse=True):
        if why_unusable(path) is None:
            yield path
