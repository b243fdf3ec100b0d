"""What the tests of faults leave: see tests/test_faults."""
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner

SCRATCH = 'configs/demo/resnet18_scratch_digits.py'


@pytest.fixture
def run(load_config):
    """Runs, and returns the runner."""

    def run(iters, path=SCRATCH, **options):
        runner = Runner.from_cfg(load_config(path, iters, **{
            'model.backbone.stem_channels': 4,
            'model.backbone.base_channels': 4,
            'model.head.in_channels': 32,
            'train_dataloader.batch_size': 4,
            'train_cfg.val_interval': 100,
            'experiment_name': f'{iters}{options}', **options}))
        runner.train()
        return runner

    return run


def weights(runner):
    return {name: value.clone() for name, value
            in runner.model.state_dict().items()}


def test_without_it(run, tmp_path):
    """A checkpoint of MMEngine's alone goes on from the step's number."""
    run(2, **{'default_hooks.exact_resume': None})
    runner = run(4, resume=True)
    assert 'written without ExactResumeHook' in log(runner)
    assert runner.iter == 4


def log(runner):
    for handler in runner.logger.handlers:
        handler.flush()
    return open(f'{runner.log_dir}/{runner.timestamp}.log').read()


def test_seed_of_the_first_run_stays(run, tmp_path):
    """Of a config without a seed, whose order is another each time."""
    whole = weights(run(4, randomness=dict(seed=None),
                        **{'default_hooks.checkpoint.interval': 2,
                           'default_hooks.checkpoint.max_keep_ckpts': 9}))
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'iter_2.pth'))
    again = weights(run(4, randomness=dict(seed=None), resume=True))
    assert all(torch.equal(again[name], whole[name]) for name in whole)


def test_loader_that_was_handed_over(run, load_config):
    cfg = load_config(SCRATCH, 2)
    loader = Runner.build_dataloader(cfg.train_dataloader, 0)
    runner = Runner.from_cfg(Config({
        **cfg, 'train_cfg.val_interval': 100}))
    runner._train_loop = dict(by_epoch=False, max_iters=2, val_interval=100)
    runner._train_dataloader = loader
    runner.cfg.train_dataloader = None
    runner.train()
    assert runner.iter == 2
    assert 'it cannot go on with the same images' in log(runner)
