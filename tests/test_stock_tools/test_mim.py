"""Our configs, trained by `mim train` from a folder that holds none."""
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

CLASSIFIER = 'resnet18_scratch_digits.py'
SEGMENTOR = 'mmseg/bisenetv1-r18_2xb8-160k_celebamask-hq-448x448.py'
ONE_STEP = ('--cfg-options', 'train_cfg.max_iters=1', 'param_scheduler=None',
            'default_hooks.logger.interval=1',
            'default_hooks.checkpoint.interval=1',
            'train_dataloader.batch_size=2')


@pytest.fixture
def mim(tmp_path):
    """Runs `mim train` in an empty folder; returns what it printed."""
    if importlib.util.find_spec('mim') is None:
        pytest.skip('mim is not installed')

    def run(*arguments, **environment):
        done = subprocess.run(
            [sys.executable, '-m', 'mim', 'train',
             *map(str, (*arguments, *ONE_STEP))],
            cwd=tmp_path, text=True, timeout=300, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, 'OMP_NUM_THREADS': '1', **environment})
        assert done.returncode == 0, done.stdout[-4000:]
        assert 'Training finished successfully' in done.stdout
        return done.stdout

    return run


@pytest.fixture
def configs():
    """Where our installed configs lie."""
    import repfusion_mm
    return Path(repfusion_mm.__file__).parent / '.mim/configs'


def test_classifier(mim, configs, weights, rows, tmp_path):
    mim('mmpretrain', configs / 'demo' / CLASSIFIER)
    work = tmp_path / 'work_dirs/resnet18_scratch_digits'
    assert len(rows(work)) == 1
    assert 'head.fc.weight' in weights(work / 'iter_1.pth')


@pytest.mark.slow
def test_segmentor(mim, configs, weights, rows, tmp_path):
    pytest.importorskip('mmseg')
    for split in ('train', 'val'):
        for name, shape in (('images/{}/0.jpg', (64, 64, 3)),
                            ('annotations/{}/0.png', (64, 64))):
            path = tmp_path / 'data/celebamask_hq' / name.format(split)
            path.parent.mkdir(parents=True)
            cv2.imwrite(str(path), np.random.default_rng(0).integers(
                0, 19, shape).astype(np.uint8))
    mim('mmseg', configs / SEGMENTOR)
    work = tmp_path / 'work_dirs' / Path(SEGMENTOR).stem
    assert len(rows(work)) == 1
    assert any(key.startswith('backbone.context_path.')
               for key in weights(work / 'iter_1.pth'))


@pytest.mark.slow
def test_by_name(mim, installed, weights, tmp_path):
    """Our own package is one that mim knows, unless it is editable."""
    printed = mim('repfusion_mm', CLASSIFIER, PYTHONPATH=os.pathsep.join(
        [str(installed), *sys.path]))
    assert str(installed / 'repfusion_mm/.mim/tools/train.py') in printed
    assert 'head.fc.weight' in weights(
        tmp_path / 'work_dirs/resnet18_scratch_digits/iter_1.pth')
