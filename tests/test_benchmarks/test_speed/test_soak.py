import json
import subprocess
import sys

import numpy as np
import pytest

from benchmarks.speed.resources import QUANTITIES
from benchmarks.speed.soak import verdict
from benchmarks.speed.soak_job import Job

HOURS = np.linspace(0, 1, 100)


@pytest.mark.parametrize('values, found', [
    (np.full(100, 8), 'flat'),
    (8 + np.arange(100), 'grows'),  # one more with each session
    (np.tile([6, 8, 8, 7], 25), 'flat'),
    (8 + 30 * np.random.default_rng(0).normal(size=100), 'not decided'),
    (np.where(HOURS < 0.2, 100 * HOURS, 20), 'flat'),  # a warm-up
])
def test_verdict(values, found):
    assert verdict('descriptors', HOURS, values, 0.25)['verdict'] == found


def test_memory_is_measured_against_itself():
    rise = 1000 + 8 * HOURS
    assert verdict('memory_mib', HOURS, rise, 0.)['verdict'] == 'flat'
    assert verdict('memory_mib', HOURS, rise / 100 + 2 * HOURS,
                   0.)['verdict'] == 'grows'


def test_too_short():
    assert verdict('threads', [0, 1], [2, 2], 0.)['verdict'] == 'not decided'


def test_one_minute(root, tmp_path):  # with its imports
    path, picture = tmp_path / 'report.json', tmp_path / 'series.png'
    result = subprocess.run(
        [sys.executable, '-m', 'benchmarks.speed.soak', '--minutes', '0.5',
         '--steps', '12', '--json', str(path), '--picture', str(picture)],
        cwd=root, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    report = json.loads(path.read_text())
    ways = {one.split(': ')[0]: set() for one in report['ends']}
    for one in report['ends']:
        ways[one.split(': ')[0]].add(one.split(': ')[1])
    assert ways['none'] == {'none'}
    for fault, end in dict(interrupted='KeyboardInterrupt',
                           nan_loss='FloatingPointError',
                           no_folder='FileNotFoundError').items():
        assert ways.get(fault, {end}) == {end}
    assert 'none' not in ways.get('worker_killed', ())
    series = report['series']
    assert {len(series[name]) for name in QUANTITIES} == {report['sessions']}
    for name in ('descriptors', 'threads', 'children', 'shared_files'):
        assert len(set(series[name])) == 1, (name, series[name])
    assert set(series['children']) == {0}
    assert picture.stat().st_size > 0


def test_fault_within_a_checkpoint(tmp_path, monkeypatch):
    # where the error of a killed worker may come, on a slow machine
    def fail(*args, **kwargs):
        raise RuntimeError('DataLoader worker is killed')

    job = Job(tmp_path, steps=6)
    assert job.session('computed', 'none') == 'none'
    with monkeypatch.context() as patch:
        patch.setattr('mmengine.runner.runner.save_checkpoint', fail)
        assert job.session('computed', 'none') == 'RuntimeError'
    assert job.session('computed', 'none') == 'none'


@pytest.mark.parametrize('args, sentence', [
    (['--minutes', '0'], '--minutes is 0, expected more than 0'),
    (['--steps', '5'], '--steps is 5, expected 6 or more'),
    (['--warm-up', '1'], '--warm-up is 1, expected 0 to 1')])
def test_bad_arguments(args, sentence, capsys):
    from benchmarks.speed.soak import parse_args
    with pytest.raises(SystemExit):
        parse_args(args)
    assert sentence in capsys.readouterr().err
