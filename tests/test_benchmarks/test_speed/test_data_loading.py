import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def images(tmp_path):
    for index in range(8):
        path = tmp_path / 'train' / f'class_{index % 2}' / f'{index}.jpg'
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.randint(
            256, size=(32, 32, 3), dtype=np.uint8)).save(path)
    return tmp_path


def run(*args):
    return subprocess.run(
        [sys.executable, '-m', 'benchmarks.speed.data_loading', *args],
        capture_output=True, text=True)


@pytest.mark.slow
def test_command(images, tmp_path):
    path = tmp_path / 'report.json'
    result = run('--data', str(images), '--images', '8', '--rounds', '2',
                 '--workers', '1', '--json', str(path))
    assert result.returncode == 0, result.stderr
    report = json.loads(path.read_text())
    assert [(way['cached'], way['collate']) for way in report['ways']] == [
        (cached, collate) for cached in (False, True)
        for collate in ('pseudo_collate', 'default_collate')]
    for way in report['ways']:
        for name in ('process', 'workers'):
            assert way[name]['microseconds'] > 0
    assert report['ways'][0]['process']['times_first'] == [1, 1, 1]


@pytest.mark.slow
def test_no_workers(images):
    result = run('--data', str(images), '--workers', '0')
    assert result.returncode == 1 and '--workers is 0' in result.stderr
