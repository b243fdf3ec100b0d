"""What `pip install` brings, as OpenMMLab's packages do: configs and tools."""
import json
import subprocess
import sys
from pathlib import Path

import pytest

STAGE_1 = '.mim/configs/demo/repfusion_resnet18_reinforced_digits.py'


def files(folder):
    return {str(path.relative_to(folder)): path.read_bytes()
            for path in folder.rglob('*')
            if path.is_file() and '__pycache__' not in path.parts}


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
def test_beside_what_is_there(installed):
    """Installing the wheel changes no package of OpenMMLab's, nor others."""
    wheel, = installed.parent.glob('*.whl')
    done = subprocess.run(
        [sys.executable, '-m', 'pip', 'install', '--dry-run', '--no-index',
         '--quiet', '--disable-pip-version-check', '--report', '-', wheel],
        text=True, capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert [one['metadata']['name'].replace('-', '_') for one
            in json.loads(done.stdout)['install']] == ['repfusion_mm']


@pytest.mark.slow
def test_training_from_the_wheel(installed, pipeline_folder, stock, weights,
                                 tmp_path):
    stock('mmpretrain', 'train.py', installed / 'repfusion_mm' / STAGE_1,
          '--work-dir', 'work', '--cfg-options', 'train_cfg.max_iters=1',
          'param_scheduler=None',
          f'model.teacher.pretrained={pipeline_folder}',
          cwd=tmp_path, PYTHONPATH=str(installed))
    assert 'backbone.conv1.weight' in weights(tmp_path / 'work/iter_1.pth')
