"""Opening a feature bank, and reading the teacher where that takes it."""
import os
import os.path as osp
from typing import Any, Callable, Optional

from mmengine.logging import print_log

from .key import compare, weights_hash
from .store import FeatureBank


def open_bank(folder: str, key: dict, num_rows: int,
              read: Callable[[Optional[FeatureBank]], str]) -> FeatureBank:
    """Open a bank, or lay it out.

    Args:
        folder (str): Of the bank.
        key (dict): What it is of; the hash of the weights is added where the
            teacher is read.
        num_rows (int): Of a new one.
        read (Callable): Reads the teacher, which is needed for a bank that is
            not full; returns the hash of its weights.

    Returns:
        FeatureBank: Of that key.

    Raises:
        OSError: If the teacher is needed and cannot be read, or the disk is
            too small.
        ValueError: If the bank is of something else.
    """
    bank = None
    if osp.isdir(folder) and os.listdir(folder):
        bank = FeatureBank(folder)
        compare(bank, key)
    if bank is None or not bank.is_full or \
            bank.key['places'] != key['places']:
        key['weights'] = read(bank)
        if bank is None:
            bank = FeatureBank.create(folder, key, num_rows,
                                      sum(key['taps'].values()))
        compare(bank, key)  # again: another process may have been faster
    return bank


def read_weights(teacher: Any, source: Any,
                 bank: Optional[FeatureBank]) -> str:
    """Read a bank's teacher.

    Args:
        teacher (nn.Module, optional): None if it is not there.
        source (Any): Its config, for the error message.
        bank (FeatureBank, optional): If it is full, it is trusted without.

    Returns:
        str: The hash of its weights.

    Raises:
        OSError: If it cannot be read, and has to be.
    """
    try:
        if teacher is None:
            raise FileNotFoundError(str(source))
        teacher.init_weights()
    except OSError as error:
        if bank is None or not bank.is_full:
            raise
        print_log(f'The bank {bank.folder} is full and is used, but the '
                  'teacher cannot be read to compare its weights: '
                  f'{error}', 'current', level=30)
        return bank.key['weights']
    return weights_hash(teacher.weights())
