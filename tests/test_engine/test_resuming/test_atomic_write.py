"""A file is there whole, or as it was."""
import errno
import os

import pytest
from mmengine.fileio import get_file_backend

from repfusion_mm.engine.resuming import atomic_write
from repfusion_mm.engine.resuming.atomic_write import (
    ATOMIC,
    AtomicBackend,
    write_atomically,
)


def test_writes(tmp_path):
    path = tmp_path / 'new' / 'file'
    for content in (b'long content', b'short', b''):
        write_atomically(path, content)
        assert path.read_bytes() == content
        assert os.listdir(path.parent) == ['file']


@pytest.mark.parametrize('number, kind', [
    (errno.ENOSPC, OSError), (errno.EACCES, PermissionError),
    (errno.EROFS, OSError), (errno.EDQUOT, OSError)])
@pytest.mark.parametrize('where', ['open', 'fsync', 'replace'])
def test_errors(tmp_path, monkeypatch, where, number, kind):
    path = tmp_path / 'file'
    path.write_text('old')

    def fail(*args):
        raise OSError(number, os.strerror(number))

    if where == 'open':
        monkeypatch.setattr(atomic_write, 'open', fail, raising=False)
    else:
        monkeypatch.setattr(os, where, fail)
    with pytest.raises(kind) as error:
        write_atomically(path, bytes(10**6))
    assert error.value.errno == number
    assert error.value.filename == str(path)
    said = str(error.value)
    assert os.strerror(number) in said and str(path) in said
    assert '1.0 MB could not be written, with ' in said
    assert 'what was there before is unharmed' in said
    assert path.read_text() == 'old' and os.listdir(tmp_path) == ['file']


def test_order(tmp_path, monkeypatch):
    """The content is on the disk before it has its name."""
    done = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, 'fsync', lambda handle: done.append(
        os.readlink(f'/proc/self/fd/{handle}').rpartition('/')[2])
        or fsync(handle))
    monkeypatch.setattr(os, 'replace', lambda *paths: done.append('rename')
                        or replace(*paths))
    write_atomically(tmp_path / 'file', b'1')
    assert done == ['file.part', 'rename', tmp_path.name]


def test_backend(tmp_path):
    backend = get_file_backend(str(tmp_path), backend_args=dict(
        backend=ATOMIC))
    assert type(backend) is AtomicBackend
    old, new = str(tmp_path / 'old'), str(tmp_path / 'new')
    backend.put(b'1', old)
    backend.remove(old)
    assert backend.isfile(old)  # until the new one is there
    backend.put(b'2', new)
    backend.remove_outdated()
    assert os.listdir(tmp_path) == ['new']
    backend.remove(new)
    backend.remove(str(tmp_path / 'nothing'))
    backend.remove_outdated(new)  # it has been written again
    backend.remove_outdated()
    assert os.listdir(tmp_path) == ['new']
