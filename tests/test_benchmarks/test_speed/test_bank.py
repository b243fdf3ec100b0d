"""The arithmetic of when a bank pays; and the command."""
import itertools
import json
import subprocess
import sys

import pytest


@pytest.fixture
def module():
    from benchmarks.speed import bank
    return bank


@pytest.mark.parametrize('bins, epochs', [(1, 1), (1, 3), (2, 3)])
def test_entries_seen(module, bins, epochs):
    # over all ways that the draws may fall
    draws = list(itertools.product(range(2 * bins), repeat=epochs))
    wanted = sum(len(set(draw)) for draw in draws) / len(draws)
    assert module.entries_seen(bins, epochs) == pytest.approx(wanted)


def test_pays_from(module):
    times = dict(computed=3., drawn=1., entry=2.5, published=9.)
    # one bin, two entries ahead: 2 x 2.5 + E < 3 E from the third epoch on
    assert module.pays_from(times, 1, ahead=True) == 3
    assert module.pays_from(times, 20, ahead=True) == 51
    # as the draws fall: 3.5 > 3, 2 + 2.5 x 1.5 = 5.75 < 6
    assert module.pays_from(times, 1, ahead=False) == 2
    assert module.seconds_an_image(times, 1, 2, False) == 5.75
    assert module.pays_from(dict(times, drawn=3.), 1, True) is None


@pytest.mark.slow
def test_command(tmp_path):
    path = tmp_path / 'report.json'
    subprocess.run(
        [sys.executable, '-m', 'benchmarks.speed.bank', '--batch', '2',
         '--rounds', '1', '--epochs', '20', '--json', str(path)], check=True)
    report = json.loads(path.read_text())
    assert [row['bins'] for row in report['bins']] == [1, 1, 5, 5, 20, 20]
    assert all(value > 0 for value in report['seconds_an_image'].values())
