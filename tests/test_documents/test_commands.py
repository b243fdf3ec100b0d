"""Every command in the documents is one that could be run."""
import importlib
import importlib.util
import re
import subprocess
from pathlib import Path

import pytest

from repfusion_mm.__main__ import parse_args

from .commands import all_commands, commands_of

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = all_commands(ROOT)
# what is not ours, and takes what it likes
OTHERS = ('git', 'if', 'mim', 'pip', 'scontrol', 'source', 'srun')
OWN = re.compile(r'(?:configs|requirements|tests|tools)/[^*]+\.\w+')


def is_given(word):
    """Whether a word names a file of the repository that has to exist."""
    return OWN.fullmatch(word) is not None


def test_commands_are_found():
    text = ('Say `make demo` or\n```bash\n# no\nA=1 python x.py a \\\n  "b c"'
            '  # yes\n```\n```python\nmake = 1\n```\n`python x.py <a b>`')
    assert [one.words for one in commands_of(text)] == [
        ('python', 'x.py', 'a', 'b c'), ('make', 'demo'),
        ('python', 'x.py', 'NAME')]
    assert len(COMMANDS) > 60


@pytest.mark.parametrize('command', COMMANDS, ids=str)
def test_command(command, tool, monkeypatch):
    monkeypatch.chdir(ROOT)
    words = list(command.words)
    missing = [word for word in words
               if is_given(word) and not Path(word).exists()]
    assert not missing
    program, *arguments = words
    if program == 'make':
        for target in arguments:
            assert f'\n{target}:' in Path('Makefile').read_text()
    elif program == 'bash':
        subprocess.run(['bash', '-n', arguments[0]], check=True)
    elif program == 'repfusion':
        parse_args(arguments)
    elif program == 'python' and arguments[0] == '-m':
        find_parser(arguments[1])(arguments[2:])
    elif program == 'python':
        name = Path(arguments[0]).relative_to('tools').with_suffix('')
        if name.as_posix() == 'distill':  # the same as repfusion
            parse_args(['distill', *(arguments[1:] or ['DATA'])])
        else:
            tool(name.as_posix()).parse_args(arguments[1:])
    else:
        assert program in OTHERS


def find_parser(module):
    """What parses the arguments of ``python -m`` this module."""
    if module == 'repfusion_mm':
        return parse_args
    if not module.startswith('benchmarks.'):
        assert importlib.util.find_spec(module) is not None
        return list
    return importlib.import_module(module).parse_args
