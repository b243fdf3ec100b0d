import json
import subprocess
from types import SimpleNamespace

import pytest

from benchmarks.lib import versions as module


def test_versions():
    import torch
    versions = module.versions()
    assert versions['torch'] == torch.__version__
    assert set(versions) == {'commit', 'python', 'torch', 'diffusers',
                             'mmengine', 'mmpretrain', 'device', 'cpu',
                             'threads'}
    assert '/' not in json.dumps(versions)


def git(folder, *arguments):
    return subprocess.run(
        ['git', '-c', 'user.name=a', '-c', 'user.email=a@b', *arguments],
        cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


def test_commit(tmp_path):
    assert module.commit(tmp_path) is None
    git(tmp_path, 'init')
    (tmp_path / 'a').write_text('1')
    git(tmp_path, 'add', 'a')
    git(tmp_path, 'commit', '-m', 'a')
    git(tmp_path, 'tag', '-a', 'v1', '-m', 'a')  # is not taken for it
    wanted = git(tmp_path, 'rev-parse', '--short', 'HEAD')
    assert module.commit(tmp_path) == wanted
    (tmp_path / 'notes').touch()
    assert module.commit(tmp_path) == wanted
    (tmp_path / 'a').write_text('2')
    assert module.commit(tmp_path) == f'{wanted}+'
    # a copy without git, inside another's checkout
    (tmp_path / 'inner').mkdir()
    assert module.commit(tmp_path / 'inner') is None


def test_no_git(monkeypatch, tmp_path):
    (tmp_path / '.git').mkdir()

    def run(*args, **kwargs):
        raise FileNotFoundError

    monkeypatch.setattr(module, 'subprocess', SimpleNamespace(run=run))
    assert module.commit(tmp_path) is None


@pytest.mark.parametrize('text, name', [
    ('processor\t: 0\nmodel name\t: A CPU @ 2 GHz\nmodel name\t: B\n',
     'A CPU @ 2 GHz'),
    ('processor\t: 0\nCPU part\t: 0xd0c\n', 'aarch64')])
def test_cpu(monkeypatch, tmp_path, text, name):
    monkeypatch.setattr(module, 'CPU_INFO', tmp_path / 'cpuinfo')
    monkeypatch.setattr(module.platform, 'processor', lambda: 'aarch64')
    assert module.cpu_name() == 'aarch64'  # no such file
    (tmp_path / 'cpuinfo').write_text(text)
    assert module.cpu_name() == name


@pytest.mark.parametrize('text, wanted', [
    ('File "/a/b-c/python3.11/x.py", line 3', 'File "x.py", line 3'),
    ("no '/a/b': /c/d/e.so: cannot", "no 'b': e.so: cannot"),
    ('see https://pytorch.org/get/started', 'see https://pytorch.org/get/'
     'started'),
    ('3 images/s, 1 / 2, tests/a/test_b.py:3', '3 images/s, 1 / 2, '
     'tests/a/test_b.py:3')])
def test_without_folders(text, wanted):
    assert module.without_folders(text) == wanted
