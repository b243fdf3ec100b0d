"""The list of images that a training has skipped, of all its workers."""
import json
import logging
import os
import threading
from typing import Dict

from mmengine.logging import print_log

FILE = 'skipped_images.jsonl'  # name of the list, in a work dir or a bank
# where the list is; an environment variable, which all workers inherit
VARIABLE = 'REPFUSION_MM_SKIPPED_IMAGES'
_known: Dict[str, dict] = {}  # by path, in this process
_read_from = ''
_lock = threading.Lock()


def keep_in(path: str) -> None:
    """Have this process and its workers write the list to a file.

    Args:
        path (str): Of the file. What has been skipped before, and was written
            to none, is written now.
    """
    waiting = [] if VARIABLE in os.environ else list(_known.values())
    forget()
    os.environ[VARIABLE] = path
    for one in waiting:  # warned of already
        _note(one)


def forget() -> None:
    """Begin anew, without a file."""
    global _read_from
    os.environ.pop(VARIABLE, None)
    _known.clear()
    _read_from = ''


def add(path: str, kind: str, reason: str) -> None:
    """Note that an image is skipped; the first one is warned of.

    Args:
        path (str): Of the image.
        kind (str): What is wrong, in a word or two.
        reason (str): What is wrong.
    """
    if _note(dict(path=path, kind=kind, reason=reason)):
        file = os.environ.get(VARIABLE, '')
        where = f'; all are listed in {file}' if file else ''
        print_log(f'{path!r} {reason}. It is skipped. So are others, of which '
                  f'no more is said here{where}', 'current', logging.WARNING)


def _note(one: dict) -> bool:
    """Puts an image on the list; says whether it is the first there."""
    global _read_from
    file = os.environ.get(VARIABLE, '')
    with _lock:
        if file != _read_from:  # another worker may have skipped it before
            _known.update(read(file))
            _read_from = file
        if one['path'] in _known:
            return False
        _known[one['path']] = one
        if file:
            # one write of a line: those of several workers do not mix
            with open(file, 'ab', 0) as out:
                out.write(json.dumps(one).encode() + b'\n')
        return len(_known) == 1


def read(file: str) -> Dict[str, dict]:
    """What is on a list.

    Args:
        file (str): The list; it need not be there.

    Returns:
        dict[str, dict]: ``path``, ``kind`` and ``reason``, by path.
    """
    found: Dict[str, dict] = {}
    try:
        with open(file, 'rb') as lines:
            for line in lines:
                try:
                    one = json.loads(line)
                    found.setdefault(one['path'], one)
                except (ValueError, KeyError, TypeError):
                    continue  # torn by a kill
    except FileNotFoundError:
        pass
    return found
