import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
CONFIG = ROOT / 'configs' / 'demo' / 'repfusion_resnet18_reinforced_digits.py'
POLICIES = 'models/time_samplers/policies.py'


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A copy of the package, to be edited."""
    from benchmarks.lib import code_digest
    folder = tmp_path / 'repfusion_mm'
    shutil.copytree(ROOT / 'repfusion_mm', folder,
                    ignore=shutil.ignore_patterns('__pycache__', '.mim'))
    monkeypatch.setattr(code_digest, 'PACKAGE', folder)
    return folder


@pytest.fixture(scope='module')
def config():
    from mmengine.config import Config
    return Config.fromfile(str(CONFIG)).dump()


@pytest.fixture
def digest(package, config):
    from benchmarks.lib import code_digest

    def new_process(*scripts):
        code_digest._text.cache_clear()
        return code_digest.code_digest(config, *scripts)

    return new_process


def edit(path, old, new):
    text = path.read_text()
    assert old in text, f'{path.name} has changed: adapt this test'
    path.write_text(text.replace(old, new, 1))


def append(path, text):
    with path.open('a') as file:
        file.write(text)


def test_words_do_not_count(package, digest):
    first, path = digest(), package / POLICIES
    append(path, '\n# a comment\n')
    edit(path, 'class LeNetPolicy(', 'class  LeNetPolicy(')
    edit(path, '"""', '"""Another word. ')  # the module's docstring
    edit(package / 'datasets' / 'digits.py', '    """', '    """Another. ')
    assert digest() == first


@pytest.mark.parametrize('path', [
    'datasets/digits.py',  # a type of the config
    'registry.py',  # what its module imports
    POLICIES,  # a type that ReinforcedTime takes where none is named
    'models/utils/nearest.py',
])
def test_code_that_is_used(package, digest, path):
    first = digest()
    append(package / path, '\nNEW = 1\n')
    assert digest() != first


@pytest.mark.parametrize('path', [
    'datasets/celebamask_hq.py', 'models/time_samplers/uniform_time.py',
    'models/__init__.py'])
def test_code_that_is_not_used(package, digest, path):
    first = digest()
    append(package / path, '\nNEW = 1\n')
    assert digest() == first


def test_edited_while_it_runs(package, config):
    """A process has the code that it read first, and keeps its keys."""
    from benchmarks.lib.code_digest import code_digest
    first = code_digest(config)
    append(package / 'registry.py', '\nNEW = 1\n')
    assert code_digest(config) == first


def test_no_module_of_another_copy(package, digest):
    """All is read from the folder that is asked for."""
    first = digest()
    (package / POLICIES).unlink()
    assert digest() != first


def test_script(package, digest, tmp_path):
    script = tmp_path / 'train.py'
    script.write_text('from repfusion_mm.engine.launch import find_device\n')
    first = digest(script)
    assert first != digest()
    append(script, '# a comment\n')
    assert digest(script) == first
    append(package / 'engine' / 'launch.py', '\nNEW = 1\n')
    second = digest(script)
    assert second != first
    append(script, 'find_device()\n')
    assert digest(script) != second
    third = digest(script)  # a type that only the script names
    append(script, "WRAPPER = 'repfusion_mm.UniformTime'\n")
    fourth = digest(script)
    append(package / 'models/time_samplers/uniform_time.py', '\nNEW = 1\n')
    assert len({third, fourth, digest(script)}) == 3


def test_package(package):
    from benchmarks.lib.code_digest import package_digest
    first = package_digest()
    assert package_digest() == first
    append(package / 'datasets' / 'celebamask_hq.py', '# a comment\n')
    assert package_digest() != first
