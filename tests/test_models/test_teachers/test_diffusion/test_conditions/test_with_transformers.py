"""Runs the tests that want transformers in a process that has it.

transformers 5 and mmpretrain cannot be imported together: `make test` puts
it into a folder of its own beside the other packages.
"""
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
FOLDER = Path(sys.prefix) / 'text'


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec('transformers') is not None,
                    reason='transformers is there: they run by themselves')
def test_in_a_process_of_their_own(root):
    if not FOLDER.is_dir():
        pytest.skip(f'no transformers in {FOLDER}: see requirements/text.txt')
    run = subprocess.run(
        [sys.executable, '-m', 'pytest', '-q', '-p', 'no:cacheprovider',
         str(HERE / 'test_text_encoders.py')], cwd=root, text=True,
        capture_output=True, env=dict(
            os.environ, PYTHONPATH=f'{FOLDER}{os.pathsep}{root}'))
    assert run.returncode == 0, run.stdout[-4000:]
    assert ' passed' in run.stdout and 'skipped' not in run.stdout
