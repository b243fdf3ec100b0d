import os

import pytest
import torch
from safetensors.torch import load_file


@pytest.fixture
def convert(tool):
    return tool('model_converters/to_safetensors').main


class Evil:
    """Makes a folder when it is unpickled as usual."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path, )


def test_runs_nothing(convert, tmp_path):
    path, out = str(tmp_path / 'a.pth'), str(tmp_path / 'a.safetensors')
    evil = str(tmp_path / 'evil')
    module = torch.nn.BatchNorm1d(3)
    torch.save(dict(state_dict=module.state_dict(), evil=Evil(evil)), path)
    convert([path, out])
    assert not os.path.exists(evil)
    got = load_file(out)
    assert got.keys() == module.state_dict().keys()
    assert torch.equal(got['weight'], module.weight)
    from repfusion_mm.safe_loading import read_weights
    assert read_weights(out)._metadata == module.state_dict()._metadata
    with pytest.raises(SystemExit, match='exists; --force'):
        convert([path, out])
    convert([path, out, '--force'])


def test_nested(convert, tmp_path):
    """Trainers write weights beside their average, which share memory."""
    path, out = str(tmp_path / 'a.pt'), str(tmp_path / 'a.safetensors')
    weight = torch.arange(6.).view(2, 3)
    torch.save(dict(model={'w': weight.t()}, ema={'w': weight}, step=3), path)
    convert([path, out])
    got = load_file(out)
    assert torch.equal(got['model.w'], weight.t())
    assert torch.equal(got['ema.w'], weight) and len(got) == 2


@pytest.mark.parametrize('content, message', [
    (None, 'does not exist'), (b'<html>', 'cannot be read'),
    (dict(a=1), 'holds no tensors')])
def test_unreadable(convert, tmp_path, content, message):
    path, out = tmp_path / 'a.pth', tmp_path / 'a.safetensors'
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(SystemExit, match=message):
        convert([str(path), str(out)])
    assert not out.exists()


def test_name(convert, capsys):
    with pytest.raises(SystemExit):
        convert(['a.pth', 'b.pth'])
    assert 'ends in .safetensors' in capsys.readouterr().err
