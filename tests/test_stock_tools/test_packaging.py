"""What `pip install` brings, as OpenMMLab's packages do: configs and tools."""
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

SOURCES = ('repfusion_mm', 'configs', 'tools', 'requirements', 'setup.py',
           'README.md', 'LICENSE', 'MANIFEST.in')
STAGE_1 = '.mim/configs/demo/repfusion_resnet18_reinforced_digits.py'


def files(folder):
    return {str(path.relative_to(folder)): path.read_bytes()
            for path in folder.rglob('*')
            if path.is_file() and '__pycache__' not in path.parts}


@pytest.fixture(scope='module')
def installed(root, tmp_path_factory):
    """The wheel, unpacked."""
    folder = tmp_path_factory.mktemp('wheel')
    for name in SOURCES:
        source = root / name
        if source.is_dir():
            shutil.copytree(source, folder / 'source' / name, symlinks=True,
                            ignore=shutil.ignore_patterns('__pycache__'))
        else:
            (folder / 'source').mkdir(exist_ok=True)
            shutil.copy(source, folder / 'source')
    done = subprocess.run(
        [sys.executable, '-m', 'pip', 'wheel', '--no-deps', '--no-index',
         '--no-build-isolation', '--disable-pip-version-check',
         '--wheel-dir', folder, folder / 'source'],
        text=True, capture_output=True, timeout=300)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    wheel, = folder.glob('repfusion_mm-*.whl')
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / 'installed')
    return folder / 'installed'


def test_here(root):
    """Installed from a checkout: links to it."""
    import repfusion_mm
    mim = Path(repfusion_mm.__file__).parent / '.mim'
    for name in ('configs', 'tools'):
        assert (mim / name).samefile(root / name)


@pytest.mark.slow
def test_wheel(installed, root):
    for name in ('configs', 'tools'):
        assert files(installed / 'repfusion_mm/.mim' / name) == \
            files(root / name)
    ours = {path.name for path in installed.iterdir()
            if not path.name.endswith('.dist-info')}
    assert ours == {'repfusion_mm'}  # and no tests
    modules = {name for name in files(installed / 'repfusion_mm')
               if not name.startswith('.mim')}
    assert modules == {name for name in files(root / 'repfusion_mm')
                       if not name.startswith('.mim')}


@pytest.mark.slow
def test_training_from_the_wheel(installed, pipeline_folder, stock, weights,
                                 tmp_path):
    stock('mmpretrain', 'train.py', installed / 'repfusion_mm' / STAGE_1,
          '--work-dir', 'work', '--cfg-options', 'train_cfg.max_iters=1',
          'param_scheduler=None',
          f'model.teacher.pretrained={pipeline_folder}',
          cwd=tmp_path, PYTHONPATH=str(installed))
    assert 'backbone.conv1.weight' in weights(tmp_path / 'work/iter_1.pth')
