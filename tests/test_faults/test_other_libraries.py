"""Stage 2 in mmseg and mmpose, by our configs as they are."""
import pytest
from mmengine.config import Config

from tests.test_configs.test_runs import (
    shrink,
    write_celebamask_hq,
    write_wflw,
)
from tests.test_faults.conftest import ROOT, Job


@pytest.fixture(scope='module')
def sandbox(tmp_path_factory):
    """The data that configs name relatively."""
    folder = tmp_path_factory.mktemp('sandbox')
    (folder / 'configs').symlink_to(ROOT / 'configs')
    write_celebamask_hq(folder / 'data/celebamask_hq')
    write_wflw(folder / 'data/wflw')
    return folder


@pytest.mark.slow
@pytest.mark.parametrize('config, at', [
    ('mmseg/bisenetv1-r18_2xb8-160k_celebamask-hq-448x448.py', 3),
    ('mmpose/rtmpose-s_8xb64-60e_wflw-256x256.py', 3)])
def test_killed(server, sandbox, tmp_path, same_end, config, at):
    """With workers, within an epoch where there are some."""
    cfg = Config.fromfile(ROOT / 'configs' / config)
    pytest.importorskip(cfg.default_scope)
    shrink(cfg, tmp_path)
    cfg.train_cfg.update(dict(max_epochs=3, val_interval=100)
                         if cfg.train_cfg.by_epoch else
                         dict(max_iters=4, val_interval=100))
    cfg.val_dataloader = cfg.val_cfg = cfg.val_evaluator = None
    cfg.custom_imports = dict(imports=['faults'])
    cfg.custom_hooks = [*cfg.get('custom_hooks', []), dict(type='Witness')]
    cfg.train_dataloader.num_workers = 2
    cfg.train_dataloader.persistent_workers = True
    cfg.default_hooks.checkpoint.update(interval=1, by_epoch=False)
    job = Job(server, tmp_path / 'runs', cfg, sandbox)
    job.complete('whole')
    assert job.run('killed', dict(what='SIGKILL', where='before_step',
                                  at=at)) == -9
    job.complete('killed', resume=True)
    same_end(job, 'killed', 'whole')
