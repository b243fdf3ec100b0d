import argparse
import collections
import io
import pickle

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from mmengine.optim import OneCycleLR

from repfusion_mm.safe_loading import RefusedFileError, allow, read_weights
from repfusion_mm.safe_loading.allowed import ALLOWED
from repfusion_mm.safe_loading.reading import read_inert
from repfusion_mm.safe_loading.safetensors_file import (
    read_safetensors,
    write_safetensors,
)


def same(one, other):
    if isinstance(one, dict):
        return list(one) == list(other) and \
            all(same(one[key], other[key]) for key in one)
    if isinstance(one, (torch.Tensor, np.ndarray)):
        return type(one) is type(other) and one.dtype == other.dtype and \
            bool((one == other).all())
    return type(one) is type(other) and one == other


@pytest.mark.parametrize('new', [True, False])
def test_what_checkpoints_hold(tmp_path, new):
    """All of it comes as torch itself would have read it."""
    parameter = torch.nn.Parameter(torch.randn(3))
    parameter.lr_mult = 0.1
    buffer = HistoryBuffer([1., 2.], [1, 1])
    saved = dict(
        state_dict=collections.OrderedDict(
            a=torch.randn(2, 3)[:, 1:], half=torch.ones(2).half(),
            b16=torch.ones(2).bfloat16(), flag=torch.tensor([True]),
            whole=torch.arange(3), parameter=parameter),
        optimizer=dict(state={0: dict(step=3, exp_avg=torch.ones(1))},
                       param_groups=[dict(lr=0.1, params=[0, 1])]),
        scalar=np.float64(0.3), array=np.arange(3.), text=np.array(['a']),
        record=np.zeros(2, [('a', 'f4')]), raw=b'\x00\xff', no=b'', one={1, 2},
        dtype=torch.float16, device=torch.device('cpu'),
        size=torch.Size([2, 3]), counts=collections.Counter('aab'),
        default=collections.defaultdict(list, a=[1]),
        args=argparse.Namespace(lr=0.1), nothing=None, number=1 + 2j,
        log=buffer)
    path = str(tmp_path / 'a.pth')
    torch.save(saved, path, _use_new_zipfile_serialization=new)
    wanted, got = torch.load(path, weights_only=False), read_weights(path)
    for one in (wanted, got):
        log = one.pop('log')
        assert isinstance(log, HistoryBuffer)
        assert (log.mean(), log.current(), log.max(), log.min()) == \
            (1.5, 2., 2., 1.)
    assert same(wanted, got)
    assert got['state_dict']['parameter'].lr_mult == 0.1
    with open(path, 'rb') as file:  # as MMEngine reads a cloud's
        content = io.BytesIO(file.read())
    assert same(read_weights(content)['optimizer'], got['optimizer'])


@pytest.mark.parametrize('mmap', [True, False])
def test_planted(plant, marker, mmap):
    for new in (True, False):
        path = plant(new=new)
        with pytest.raises(RefusedFileError) as error:
            read_weights(path, mmap=mmap)
        assert not marker.exists()
        for words in (path, 'call posix.mkdir', 'to_safetensors.py',
                      'repfusion_mm.safe_loading.allow'):
            assert words in str(error.value)


def call(module, name, argument):
    """A pickle that calls something, by opcodes."""
    return (f'c{module}\n{name}\n'.encode() +
            b'X' + len(argument).to_bytes(4, 'little') + argument.encode() +
            b'\x85R.')


@pytest.mark.parametrize('module, name', [
    ('os', 'system'), ('posix', 'system'), ('builtins', 'eval'),
    ('__builtin__', 'eval'), ('builtins', 'exec'), ('subprocess', 'Popen'),
    ('importlib', 'import_module'), ('runpy', 'run_path'),
    ('torch.storage', '_load_from_bytes'), ('torch', 'load'),
    ('torch.jit', 'load'), ('torch.hub', 'load'), ('pickle', 'loads'),
    ('numpy', 'load'), ('operator', 'attrgetter'), ('functools', 'partial'),
    ('mmengine.config', 'Config'), ('builtins', 'type'),
    ('repfusion_mm.safe_loading.allowed', 'allow'),
    ('collections', 'OrderedDict.fromkeys')])
def test_names_that_are_not_listed(pickled, tmp_path, module, name):
    path = pickled(call(module, name, f'mkdir {tmp_path}/ran'))
    with pytest.raises(RefusedFileError, match=f'call {module}.{name},'):
        read_weights(path)
    assert not (tmp_path / 'ran').exists()


def test_getattr_gives_statistics_alone(pickled):
    """By it, anything could be reached from any class."""
    getter = b'c__builtin__\ngetattr\ncmmengine.logging.history_buffer\n' \
        b'HistoryBuffer\nX%s%s\x86R.'
    for name, good in ((b'mean', True), (b'__init__', False),
                       (b'__subclasses__', False), (b'__class__', False)):
        path = pickled(getter % (len(name).to_bytes(4, 'little'), name))
        if good:
            assert read_weights(path) is HistoryBuffer.mean
        else:
            with pytest.raises(RefusedFileError, match='attribute'):
                read_weights(path)
    path = pickled(b'c__builtin__\ngetattr\nccollections\nOrderedDict\n'
                   b'X\x04\x00\x00\x00keys\x86R.')
    with pytest.raises(RefusedFileError, match="attribute 'keys'"):
        read_weights(path)


def test_listed_classes_are_not_changed(pickled):
    """The second part of a state is set on whatever it is the state of."""
    path = pickled(b'cargparse\nNamespace\nN}X\x04\x00\x00\x00evilI1\ns\x86b.')
    assert pickle.loads(b'cargparse\nNamespace\nN}X\x04\x00\x00\x00evilI1\ns'
                        b'\x86b.') is argparse.Namespace
    assert argparse.Namespace.evil == 1  # by pickle
    del argparse.Namespace.evil
    with pytest.raises(RefusedFileError, match="change <class 'argparse."):
        read_weights(path)
    assert not hasattr(argparse.Namespace, 'evil')


def test_bytes_in_other_encodings(pickled):
    path = pickled(b'c_codecs\nencode\nX\x01\x00\x00\x00aX\x03\x00\x00\x00bz2'
                   b'\x86R.')
    with pytest.raises(RefusedFileError, match="bytes in 'bz2'"):
        read_weights(path)


def test_torchscript(tmp_path):
    """Before torch 2.6 even `weights_only=True` runs it."""
    path = str(tmp_path / 'a.pth')
    torch.jit.script(torch.nn.Linear(1, 1)).save(path)
    for read in (read_weights, read_inert):
        with pytest.raises(RefusedFileError, match='a.pth is TorchScript'):
            read(path)


def test_tar(tmp_path):
    import tarfile
    path = tmp_path / 'a.pth'
    for name in ('sys_info', 'pickle', 'storages', 'tensors'):
        (tmp_path / name).write_bytes(b'')
    with tarfile.open(path, 'w') as file:
        for name in ('sys_info', 'pickle', 'storages', 'tensors'):
            file.add(tmp_path / name, f'../{name}')
    for read in (read_weights, read_inert):
        with pytest.raises(RefusedFileError, match='a.pth is a tar'):
            read(str(path))


@pytest.mark.parametrize('content', [
    b'', b'<html>', b'{"a": 1}', b'\x80\x02.', b'\x80\x02}q\x00(X'])
def test_no_weights(tmp_path, content):
    path = tmp_path / 'a.pth'
    path.write_bytes(content)
    with pytest.raises(RefusedFileError, match='a.pth is no file of weights'):
        read_weights(str(path))


def test_absent(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_weights(str(tmp_path / 'a.pth'))


class Mine:
    pass


def test_allow(tmp_path, monkeypatch):
    path = str(tmp_path / 'a.pth')
    torch.save(dict(mine=Mine()), path)
    with pytest.raises(RefusedFileError, match='Mine'):
        read_weights(path)
    key = Mine.__module__, 'Mine'
    monkeypatch.setitem(ALLOWED, key, None)  # taken back at the end
    allow(Mine)
    assert isinstance(read_weights(path)['mine'], Mine)
    with pytest.raises(TypeError, match='takes classes'):
        allow(print)


def test_variable_of_torch(plant, monkeypatch):
    path = plant()  # which torch reads, too
    monkeypatch.setenv('TORCH_FORCE_WEIGHTS_ONLY_LOAD', '1')
    with pytest.raises(RuntimeError, match='unset it'):
        read_weights(path)


def test_safetensors(tmp_path):
    """A state dict with what its modules' versions say."""
    module = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(
        3)).to(memory_format=torch.channels_last)
    path = str(tmp_path / 'a.safetensors')
    state = module.state_dict()
    write_safetensors(state, path, dict(by='us'))
    for got in (read_weights(path, 'cpu'), read_safetensors(path),
                read_inert(path)):
        assert same(dict(sorted(state.items())), dict(sorted(got.items())))
        assert got._metadata == state._metadata
        assert got._metadata['1'] == {'version': 2}
    from safetensors.torch import load_file
    assert set(load_file(path)) == set(state)  # anybody can read it


@pytest.mark.parametrize('protocol', [2, 4])
@pytest.mark.parametrize('anneal', ['cos', 'linear'])
def test_one_cycle(tmp_path, anneal, protocol):
    """Its state names a function; a resumed one anneals alike."""

    def scheduler():
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], 0.1)
        return OneCycleLR(optimizer, eta_max=1., total_steps=8,
                          anneal_strategy=anneal), optimizer

    whole, optimizer = scheduler()
    for _ in range(3):
        optimizer.step()
        whole.step()
    torch.save(whole.state_dict(), tmp_path / 'x.pth',
               pickle_protocol=protocol)
    again, other = scheduler()
    again.load_state_dict(read_weights(str(tmp_path / 'x.pth')))
    other.param_groups[0]['lr'] = optimizer.param_groups[0]['lr']
    for _ in range(4):
        for one, its in ((whole, optimizer), (again, other)):
            its.step()
            one.step()
        assert other.param_groups[0]['lr'] == optimizer.param_groups[0]['lr']


def test_one_cycle_is_not_made(tmp_path):
    """Nothing else of its class is given, and it cannot be called."""
    path = str(tmp_path / 'x.pth')
    name = b'cmmengine.optim.scheduler.param_scheduler\n' \
        b'OneCycleParamScheduler\n'
    for evil in (b'\x80\x02' + name + b')R.',
                 b'\x80\x02c__builtin__\ngetattr\n' + name +
                 b'X\x08\x00\x00\x00__init__\x86R.'):
        with open(path, 'wb') as file:
            file.write(evil)
        with pytest.raises(RefusedFileError):
            read_weights(path)
