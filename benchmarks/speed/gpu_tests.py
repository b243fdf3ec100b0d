"""Runs the tests that need a GPU, and writes down each as it ends.

Several at a time, where pytest-xdist is there. A run that was stopped goes on
with what has not passed yet.
usage: python -m benchmarks.speed.gpu_tests FOLDER [arguments of pytest ...]
"""
import importlib.util
import json
import os
import sys
from pathlib import Path

import pytest

from benchmarks.lib.plan import ROOT
from benchmarks.lib.versions import versions, without_folders

PROCESSES = 8  # each holds a GPU context of half a GiB


class Outcomes:
    """A plugin of pytest that keeps outcomes in a file.

    Args:
        path (Path): One line for each test, the last one counts.
    """

    def __init__(self, path):
        self.path = path
        lines = path.read_text().splitlines() if path.exists() else []
        self.tests = {row.pop('test'): row for row in map(json.loads, lines)
                      if row['phase'] != 'collect'}  # which is tried again

    def passed(self):
        """Arguments that leave out what has passed."""
        return [f'--deselect={name}' for name, row in self.tests.items()
                if row['outcome'] == 'passed']

    def pytest_collectreport(self, report):
        if report.failed:
            self._add(report, 'collect', 0.)

    def pytest_runtest_logreport(self, report):
        if report.when == 'call' or not report.passed:
            self._add(report, report.when, report.duration)

    def _add(self, report, phase, seconds):
        row = dict(outcome=report.outcome, phase=phase,
                   seconds=round(seconds, 2))
        if not report.passed:
            row['message'] = without_folders(report.longreprtext)[-2000:]
        self.tests[report.nodeid] = row
        with self.path.open('a') as file:
            file.write(json.dumps(dict(row, test=report.nodeid)) + '\n')

    def counts(self):
        """Number of tests by outcome."""
        found = [row['outcome'] for row in self.tests.values()]
        return {outcome: found.count(outcome) for outcome in sorted(
            set(found))}


def gpu_tests():
    """Arguments that choose the tests marked ``gpu``, and no other file."""
    return ['-m', 'gpu', *(
        str(path) for path in sorted((ROOT / 'tests').rglob('test_*.py'))
        if 'pytest.mark.gpu' in path.read_text())]


def processes():
    """Arguments for several processes, without any other plugin."""
    os.environ['PYTEST_DISABLE_PLUGIN_AUTOLOAD'] = '1'  # of whoever is there
    if importlib.util.find_spec('xdist') is None:
        return []
    return ['-p', 'xdist.plugin', '-n', str(PROCESSES)]


def main(argv=None):
    folder, *chosen = sys.argv[1:] if argv is None else argv
    folder = Path(folder).absolute()
    os.chdir(ROOT)
    outcomes = Outcomes(folder / 'outcomes.jsonl')
    code = pytest.main(
        ['-v', '-p', 'no:cacheprovider', '--continue-on-collection-errors',
         *processes(), *outcomes.passed(), *(chosen or gpu_tests())],
        plugins=[outcomes])
    (folder / 'result.json').write_text(json.dumps(dict(
        counts=outcomes.counts(), tests=outcomes.tests,
        versions=versions()), indent=1))
    nothing_left = code == pytest.ExitCode.NO_TESTS_COLLECTED
    return 0 if nothing_left and outcomes.tests else int(code)


if __name__ == '__main__':
    sys.exit(main())
