"""The same command from a checkout; what it refuses is an exit code."""
import subprocess
import sys

import pytest

from repfusion_mm.__main__ import main


def test_help(root):
    found = subprocess.run(
        [sys.executable, 'tools/distill.py', '--help'], cwd=root,
        env=dict(PYTHONPATH=str(root)), capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    assert 'usage: repfusion distill' in found.stdout
    assert 'resnet50' in found.stdout


def test_light():
    """--help and `import repfusion_mm` wait for no torch."""
    code = 'import sys, repfusion_mm, repfusion_mm.__main__, ' \
        'repfusion_mm.command\nsys.exit("torch" in sys.modules)'
    assert subprocess.run([sys.executable, '-c', code]).returncode == 0


@pytest.mark.parametrize('options, message', [
    (['--student', 'resnet5'], "--student is 'resnet5'"),
    ([], 'DATA is')])
def test_refused(tmp_path, capsys, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    assert main(['distill', 'nowhere', *options]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_nothing_installed(monkeypatch, capsys, tmp_path):
    """Says what to install, where a traceback would name one module."""
    monkeypatch.setattr('repfusion_mm.command.installed.find_spec',
                        lambda name: None if name == 'mmcv' else name)
    assert main(['distill', str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert 'mmcv not installed' in said and 'requirements/demo.txt' in said
