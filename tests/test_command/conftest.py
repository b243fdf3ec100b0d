"""Real digits in folders, and a plan of them."""
import os
import signal

import pytest

from tests.test_command.digit_folders import of_classes, write_digits


@pytest.fixture
def digits(tmp_path):
    """A folder of 48 digits without labels, in nested folders."""
    return write_digits(tmp_path / 'digits', range(48))


@pytest.fixture
def labels(tmp_path):
    """Class folders of 3 classes, 8 images each."""
    return write_digits(tmp_path / 'labelled', of_classes((0, 1, 2), 8, 200),
                        by_class=True)


@pytest.fixture
def small_batches(monkeypatch):
    """Steps of 8 images, that take no time."""
    from repfusion_mm.command import rules
    monkeypatch.setattr(rules, 'BATCH', 8)


@pytest.fixture
def make_plan(digits, tmp_path, pipeline_folder):
    """Settles the plan of some options, with costs that are made up."""
    from repfusion_mm.command import make_plan as module
    from repfusion_mm.command.plan import Plan
    from repfusion_mm.command.timing import Cost

    def settle(**options):
        given = dict(data=digits, student='resnet18',
                     teacher=pipeline_folder, out=str(tmp_path / 'out'),
                     labels=None, epochs=1, val_share=0.25,
                     time='fixed')
        given.update(options)
        before = module.cost_of
        module.cost_of = lambda cfg: Cost(0.5, 10)
        try:
            return module.make_plan(Plan(**given))
        finally:
            module.cost_of = before

    return settle


@pytest.fixture
def press_ctrl_c(monkeypatch):
    """Presses it behind a step of a training."""
    from repfusion_mm.command.training import BarHook
    after = BarHook.after_train_iter

    def at(title, step):
        def pressing(self, runner, *args, **kwargs):
            after(self, runner, *args, **kwargs)
            if self.title == title and runner.iter == step:
                os.kill(os.getpid(), signal.SIGINT)

        monkeypatch.setattr(BarHook, 'after_train_iter', pressing)

    return at
