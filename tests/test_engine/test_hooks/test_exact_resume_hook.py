"""What the tests of faults leave: see tests/test_faults."""
import pytest
import torch
from mmengine.registry import init_default_scope
from mmengine.runner import IterBasedTrainLoop, Runner

SCRATCH = 'configs/demo/resnet18_scratch_digits.py'
SMALL = {
    'model.backbone.stem_channels': 4,
    'model.backbone.base_channels': 4,
    'model.head.in_channels': 32,
    'train_dataloader.batch_size': 4,
    'train_cfg.val_interval': 100,
}


@pytest.fixture
def run(load_config):
    """Runs, and returns the runner."""

    def run(iters, exact=True, **options):
        cfg = load_config(SCRATCH, iters, **SMALL, **options)
        cfg.experiment_name = f'{iters}{exact}{len(options)}'
        if not exact:
            del cfg.default_hooks['exact_resume']
        runner = Runner.from_cfg(cfg)
        runner.train()
        return runner

    return run


def weights(runner):
    return {name: value.clone() for name, value
            in runner.model.state_dict().items()}


def test_without_it(run, tmp_path):
    """A checkpoint of MMEngine's alone goes on from the step's number."""
    run(2, exact=False)
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


def test_loader_that_was_handed_over(load_config):
    cfg = load_config(SCRATCH, 2, **SMALL)
    init_default_scope(cfg.default_scope)
    runner = Runner.from_cfg(cfg)
    runner._train_loop = IterBasedTrainLoop(
        runner, Runner.build_dataloader(cfg.train_dataloader, 0), 2,
        val_interval=100)
    runner.cfg.train_dataloader = None
    runner.train()
    assert runner.iter == 2
    assert 'it cannot go on with the same images' in log(runner)
