"""Files that run something when they are unpickled as usual."""
import os
import zipfile

import pytest
import torch


class Planted:
    """Makes a folder, when it is unpickled."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (self.marker, )


@pytest.fixture
def marker(tmp_path):
    """What is there if something ran."""
    return tmp_path / 'something_ran'


@pytest.fixture
def plant(marker, tmp_path):
    """Writes a checkpoint with something planted in it; its path.

    The file is dangerous indeed: unpickled as usual, it leaves the marker.
    """

    def write(name='planted.pth', state=None, new=True):
        path = str(tmp_path / name)
        torch.save(dict(state_dict=state or {'conv.weight': torch.ones(2)},
                        meta=dict(epoch=1, iter=1),
                        message_hub=Planted(str(marker))), path,
                   _use_new_zipfile_serialization=new)
        torch.load(path, weights_only=False)
        assert marker.exists()
        marker.rmdir()
        return path

    return write


@pytest.fixture
def pickled(tmp_path):
    """Writes a pickle of one's own making where torch reads its own."""
    def write(content):
        path = tmp_path / 'made.pth'
        torch.save({}, path)
        with zipfile.ZipFile(path) as file:
            parts = {name: file.read(name) for name in file.namelist()}
        with zipfile.ZipFile(path, 'w') as file:
            for name, old in parts.items():
                file.writestr(name, content if name.endswith('data.pkl')
                              else old)
        return str(path)

    return write
