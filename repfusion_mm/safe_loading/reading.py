"""Files of weights, read by a list of what they may name."""
import os
import pickle
import struct
import tarfile
from collections import OrderedDict
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any, BinaryIO, Union

import torch

from .allowed import ALLOWED
from .safetensors_file import read_safetensors

File = Union[str, 'os.PathLike[str]', BinaryIO]
CONVERT = ('`python tools/model_converters/to_safetensors.py {0} '
           'OUT.safetensors` takes the tensors out of it and runs nothing')


class RefusedFileError(ValueError):
    """A file of weights that asks for more than weights need."""


class _Refused(Exception):
    """A name that is not on the list."""


_InPython: Any = pickle._Unpickler  # of which typeshed tells too little


class _ListedUnpickler(_InPython):
    """Makes what is listed, and stops at the first name that is not.

    It is the one in Python, as torch's own is: that in C cannot be kept from
    setting attributes of the listed classes themselves.
    """
    dispatch = dict(_InPython.dispatch)

    def find_class(self, module: str, name: str) -> Any:
        try:
            return ALLOWED[module, name]
        except KeyError:
            raise _Refused(f'call {module}.{name}') from None

    def load_build(self) -> None:
        """Give an object its attributes."""
        if callable(self.stack[-2]):
            raise _Refused(f'change {self.stack[-2]!r}')
        super().load_build()

    dispatch[pickle.BUILD[0]] = load_build


class _InertUnpickler(pickle.Unpickler):
    """Makes tensors and plain dicts, and of all else something inert."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ('collections', 'OrderedDict'):
            return OrderedDict
        if module == 'torch._utils' and name in ('_rebuild_tensor_v2',
                                                 '_rebuild_parameter'):
            return ALLOWED[module, name]
        return Inert


class Inert:
    """Stands for whatever a file holds besides tensors: does nothing."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass

    def __setitem__(self, key: Any, value: Any) -> None:
        pass

    def append(self, value: Any) -> None:
        """Takes the items of a pickled list."""

    extend = append


def read_weights(file: File, map_location: Any = None,
                 mmap: bool = False) -> Any:
    """What a file of weights holds: tensors and what is listed beside them.

    Nothing of the file is run. ``weights_only=True`` of torch would refuse
    MMEngine's own checkpoints, for their logs, and before torch 2.6 it runs
    TorchScript that is handed over as weights.

    Args:
        file (str or BinaryIO): A ``.safetensors`` file, or what ``torch.save``
            wrote.
        map_location (Any): As of ``torch.load``. Defaults to None.
        mmap (bool): Whether to leave the tensors on the disk until they are
            used, where the format allows it. Defaults to False.

    Returns:
        Any: A state dict, or what was saved around it.

    Raises:
        RefusedFileError: If the file names what is not in
            :data:`~repfusion_mm.safe_loading.allowed.ALLOWED`, holds a
            program, or no weights at all. The file and the name are named.
    """
    name = _name(file)
    if name.endswith('.safetensors') and not hasattr(file, 'read'):
        return read_safetensors(name, map_location)
    try:
        return _unpickled(file, _ListedUnpickler, map_location, mmap)
    except _Refused as error:
        raise RefusedFileError(
            f'{name} is not read, since unpickling it would {error}, '
            'which no file of weights needs. ' + CONVERT.format(name) +
            '. If it is a class of your own, that you know is harmless, '
            'name it before: repfusion_mm.safe_loading.allow(...)') from None
    # what broken pickles end in
    except (pickle.UnpicklingError, AttributeError, EOFError, LookupError,
            TypeError, ValueError, struct.error) as error:
        if isinstance(error, RefusedFileError):
            raise
        raise RefusedFileError(
            f'{name} is no file of weights: {type(error).__name__}: '
            f'{error}') from error


def read_inert(file: File) -> Any:
    """All tensors of a file, and instead of all else something inert.

    Args:
        file (str or BinaryIO): As of :func:`read_weights`.

    Returns:
        Any: As saved, with an :class:`Inert` where no tensor, dict, list or
        plain value was.

    Raises:
        RefusedFileError: If the file holds a program.
        Exception: Of many kinds, if it is broken.
    """
    name = _name(file)
    if name.endswith('.safetensors'):
        return read_safetensors(name)
    return _unpickled(file, _InertUnpickler, 'cpu', False)


def _name(file: File) -> str:
    return os.fspath(file) if isinstance(file, (str, os.PathLike)) else \
        'a file of weights'


def _unpickled(file: Any, unpickler: Any, map_location: Any,
               mmap: bool) -> Any:
    if os.environ.get('TORCH_FORCE_WEIGHTS_ONLY_LOAD', '0') in (
            '1', 'y', 'yes', 'true'):
        raise RuntimeError(
            'TORCH_FORCE_WEIGHTS_ONLY_LOAD is set, which forbids any other '
            'unpickler; unset it: here all is read by a list as strict')
    zipped = _check_kind(file)
    return torch.load(
        file, map_location=map_location, weights_only=False,
        mmap=mmap and zipped,
        pickle_module=SimpleNamespace(
            __name__='listed', Unpickler=unpickler,
            load=lambda file, **how: unpickler(file, **how).load()))


def _check_kind(file: Any) -> bool:
    """Refuse the two kinds of files that torch reads in other ways.

    Returns:
        bool: Whether it is a zip, and no old file of pickles one by one.
    """
    kind = ''
    with nullcontext(file) if hasattr(file, 'read') else \
            open(file, 'rb') as opened:
        start = opened.tell()
        zipped = opened.read(4) == b'PK\x03\x04'
        opened.seek(start)
        if not zipped:
            if tarfile.is_tarfile(opened):
                kind = 'a tar of torch before 0.1.10'
        # by torch's own reader: another may see another zip in it
        elif 'constants.pkl' in torch._C.PyTorchFileReader(
                opened).get_all_records():
            kind = 'TorchScript, a program'
        opened.seek(start)
    if kind:
        raise RefusedFileError(
            f'{_name(file)} is {kind}, and is not read: weights are expected, '
            'as safetensors or as torch.save(model.state_dict(), ...) writes '
            'them')
    return zipped
