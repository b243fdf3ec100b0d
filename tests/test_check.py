"""`python -m repfusion_mm.check`."""
import os
import subprocess
import sys

import pytest

from repfusion_mm import check


@pytest.mark.parametrize('library', list(check.STEPS))
def test_step(library):
    pytest.importorskip(library)
    check.take_step(library)


@pytest.mark.parametrize('error,word', [
    (RuntimeError('operator torchvision::nms does not exist'), 'torchvision'),
    (ModuleNotFoundError("No module named 'mmcv._ext'"), 'make test'),
    (ValueError('numpy.dtype size changed, may indicate binary '
                'incompatibility'), 'xtcocotools'),
    (AssertionError('MMCV==2.2.0 is used but incompatible. Please install '
                    'mmcv>=2.0.0rc4, <2.2.0.'), 'generations'),
    (ModuleNotFoundError("No module named 'pkg_resources'"), 'setuptools')])
def test_remedy(error, word):
    assert word in check.remedy(error)


def test_broken_library_is_told(monkeypatch, capsys):
    def step(library):
        if library == 'mmpose':
            raise ModuleNotFoundError("No module named 'mmcv._ext'")

    monkeypatch.setattr(check, 'take_step', step)
    monkeypatch.setattr(check, 'installed', lambda name: '1.0')
    assert check.main() == 1
    printed = capsys.readouterr().out
    assert 'make test' in printed
    assert 'mmcv and mmcv-lite are both installed' in ' '.join(printed.split())


def test_no_library(monkeypatch, capsys):
    monkeypatch.setattr(check, 'installed', lambda name: None)
    assert check.main() == 0
    assert 'pip install onedl-mmpretrain' in \
        ' '.join(capsys.readouterr().out.split())


ALONE = """
import sys
for name in ('mmengine', 'mmcv', 'mmpretrain', 'mmseg', 'mmdet', 'mmpose'):
    sys.modules[name] = None  # cannot be imported
from repfusion_mm import check
version = check.version
def none_of_openmmlab(name):
    if 'mm' in name.replace('repfusion_mm', ''):
        raise check.PackageNotFoundError
    return version(name)
check.version = none_of_openmmlab
sys.exit(check.main())
"""


def test_beside_nothing(root):
    done = subprocess.run(
        [sys.executable, '-c', ALONE], text=True, capture_output=True,
        env={**os.environ, 'PYTHONPATH': str(root)})
    assert done.returncode == 0, done.stderr
    assert 'pip install onedl-mmpretrain' in ' '.join(done.stdout.split())
