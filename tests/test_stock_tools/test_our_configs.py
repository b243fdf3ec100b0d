"""Configs of ours, trained and tested by the libraries' own files."""
import importlib.util

import pytest
import torch

pytestmark = pytest.mark.slow
SEGMENTOR = 'configs/mmseg/bisenetv1-r18_repfusion-init_2xb8-160k_' \
    'celebamask-hq-448x448.py'
ESTIMATOR = 'configs/mmpose/resnet50_repfusion-init_8xb64-60e_wflw-256x256.py'
SMALL = ('--cfg-options', 'param_scheduler=None',
         'train_dataloader.batch_size=2', 'default_hooks.logger.interval=1',
         'default_hooks.checkpoint.interval=1')


@pytest.fixture(scope='module')
def writers(root):
    """The module that writes data in the real formats."""
    spec = importlib.util.spec_from_file_location(
        'writers', root / 'tests/test_configs/test_runs.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope='module')
def folder(root, writers, tmp_path_factory):
    """Data where the configs look for it."""
    folder = tmp_path_factory.mktemp('ours')
    (folder / 'configs').symlink_to(root / 'configs')
    writers.write_celebamask_hq(folder / 'data/celebamask_hq')
    writers.write_wflw(folder / 'data/wflw')
    return folder


@pytest.fixture(scope='module')
def stage_1(folder, writers):
    """The checkpoint of each config's stage 1."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return {path: folder / writers.checkpoint_of(
            writers.Config.fromfile(path)) for path in (SEGMENTOR, ESTIMATOR)}


@pytest.mark.parametrize('library, config, steps, metric, part', [
    ('mmseg', SEGMENTOR, 'max_iters', 'mIoU', 'context_path.backbone.'),
    ('mmpose', ESTIMATOR, 'max_epochs', 'NME', '')])
def test_trained_and_tested(library, config, steps, metric, part, folder,
                            stage_1, stock, weights, tmp_path):
    pytest.importorskip(library)
    stock(library, 'train.py', config, '--work-dir', tmp_path, *SMALL,
          f'train_cfg.{steps}=1', 'optim_wrapper.optimizer.lr=0', cwd=folder)
    checkpoint = (tmp_path / 'last_checkpoint').read_text()
    # no step has moved what it started from
    trained = weights(checkpoint)
    for key, value in weights(stage_1[config]).items():
        if key.endswith('weight'):
            ours = key.replace('backbone.', f'backbone.{part}', 1)
            assert torch.equal(trained[ours], value)
    printed = stock(library, 'test.py', config, checkpoint, '--work-dir',
                    tmp_path, '--show-dir', tmp_path / 'show', cwd=folder)
    assert metric in printed
    assert sum(path.suffix in ('.jpg', '.png')
               for path in (tmp_path / 'show').rglob('*')) == 2
