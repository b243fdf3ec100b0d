"""The unmodified tools of mmpretrain, mmseg and mmpose, in processes."""
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

SIDE = 32
KEYPOINTS = 3
SOURCES = ('repfusion_mm', 'configs', 'tools', 'requirements', 'setup.py',
           'pyproject.toml', 'model-index.yml', 'README.md', 'LICENSE',
           'MANIFEST.in')


def folder_of(library):
    """Where a library lies; skips the test where there is none."""
    spec = importlib.util.find_spec(library)
    if spec is None:
        pytest.skip(f'{library} is not installed')
    return Path(spec.origin).parent


@pytest.fixture(scope='session')
def library_folder():
    return folder_of


@pytest.fixture(scope='session')
def stock():
    """Runs a tool of a library; returns what it printed."""

    def run(library, tool, *arguments, cwd, **environment):
        done = subprocess.run(
            [sys.executable, str(folder_of(library) / '.mim/tools' / tool),
             *map(str, arguments)],
            cwd=cwd, text=True, timeout=300, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, 'OMP_NUM_THREADS': '1', **environment})
        assert done.returncode == 0, done.stdout[-4000:]
        return done.stdout

    return run


@pytest.fixture(scope='session')
def rows():
    """What a run has logged, line by line."""

    def read(work_dir):
        paths = list(Path(work_dir).glob('*/vis_data/scalars.json'))
        assert len(paths) == 1
        lines = map(json.loads, paths[0].read_text().splitlines())
        return [line for line in lines if 'loss' in line]

    return read


@pytest.fixture(scope='session')
def weights():
    """The state dict of a checkpoint."""
    return lambda path: torch.load(path, weights_only=False)['state_dict']


@pytest.fixture(scope='session')
def task_alone(weights):
    """What a joint model's task predicts, built as the stock model it is."""
    from mmengine.config import Config
    from mmengine.registry import MODELS, DefaultScope
    from mmengine.runner import Runner

    def predict(config, checkpoint):
        cfg = Config.fromfile(config)
        preprocessor = cfg.get('data_preprocessor')
        with DefaultScope.overwrite_default_scope(cfg.default_scope):
            model = MODELS.build(
                cfg.model.task, default_args=preprocessor and dict(
                    data_preprocessor=preprocessor))
            loader = Runner.build_dataloader(cfg.test_dataloader, seed=0)
        model.load_state_dict({
            key[len('task.'):]: value
            for key, value in weights(checkpoint).items()
            if key.startswith('task.')})
        model.eval()
        with torch.no_grad():
            return [sample for batch in loader
                    for sample in model.test_step(batch)]

    return predict


@pytest.fixture
def publish(tool, tmp_path):
    """A plain config and checkpoint of a joint model; their paths."""
    from mmengine.config import Config

    def run(config, checkpoint):
        cfg = Config.fromfile(config)
        cfg.model = cfg.model.task
        cfg.pop('custom_hooks')
        cfg.dump(tmp_path / 'plain.py')
        tool('model_converters/publish_student').main(
            [str(checkpoint), str(tmp_path / 'plain.pth')])
        return str(tmp_path / 'plain.py'), str(tmp_path / 'plain.pth')

    return run


@pytest.fixture(scope='session')
def write_masks():
    """Writes bright squares on noise, and masks of three classes."""

    def write(folder, count):
        rng = np.random.default_rng(0)
        for name in ('images', 'masks'):
            (folder / name).mkdir(parents=True)
        for index in range(count):
            mask = np.zeros((SIDE, SIDE), np.uint8)
            mask[4:14, 4:14], mask[18:28, 10:30] = 1, 2
            image = rng.integers(0, 60, (SIDE, SIDE, 3)) + \
                mask[..., None] * 90
            cv2.imwrite(str(folder / f'images/{index}.png'),
                        image.astype(np.uint8))
            cv2.imwrite(str(folder / f'masks/{index}.png'), mask)

    return write


@pytest.fixture(scope='session')
def write_keypoints():
    """Writes images of dots, and their annotations as COCO has them."""

    def write(folder, count):
        rng = np.random.default_rng(0)
        (folder / 'images').mkdir(parents=True)
        images, annotations = [], []
        for index in range(count):
            image = rng.integers(0, 60, (SIDE, SIDE, 3)).astype(np.uint8)
            points = rng.integers(4, SIDE - 4, (KEYPOINTS, 2))
            for kind, (x, y) in enumerate(points):
                image[y - 1:y + 2, x - 1:x + 2, kind] = 250
            cv2.imwrite(str(folder / f'images/{index}.png'), image)
            images.append(dict(id=index, file_name=f'{index}.png',
                               width=SIDE, height=SIDE))
            annotations.append(dict(
                id=index, image_id=index, category_id=1, iscrowd=0,
                bbox=[0, 0, SIDE, SIDE], area=SIDE * SIDE,
                num_keypoints=KEYPOINTS,
                keypoints=[int(v) for point in points for v in (*point, 2)]))
        (folder / 'keypoints.json').write_text(json.dumps(dict(
            images=images, annotations=annotations,
            categories=[dict(id=1, name='dots', skeleton=[],
                             keypoints=['red', 'green', 'blue'])])))

    return write


@pytest.fixture(scope='session')
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
