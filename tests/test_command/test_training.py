"""Ctrl-C within a training keeps what is done."""
import os
import signal

import pytest
import torch

from repfusion_mm.command.training import stopped_by_ctrl_c, train

CONFIG = 'configs/demo/repfusion_resnet18_fixed_digits.py'


@pytest.fixture
def config(load_config):
    return lambda: load_config(CONFIG, 4, **{
        'model.backbone.stem_channels': 4, 'model.backbone.base_channels': 4,
        'train_dataloader.batch_size': 8})


def weights(path):
    return torch.load(path, weights_only=False)['state_dict']


@pytest.mark.slow
def test_goes_on_as_if_nothing_had_happened(config, tmp_path, capsys,
                                            press_ctrl_c):
    whole = train(config(), str(tmp_path / 'whole'), 'whole')
    press_ctrl_c('stopped', 1)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(SystemExit) as stop:
        train(config(), str(tmp_path / 'stopped'), 'stopped')
    assert stop.value.code == 75
    assert signal.getsignal(signal.SIGINT) is before
    assert (tmp_path / 'stopped/interrupted.pth').exists()
    path = train(config(), str(tmp_path / 'stopped'), 'again')
    assert path == str(tmp_path / 'stopped/iter_4.pth')
    for name, value in weights(whole).items():
        assert torch.equal(value, weights(path)[name]), name
    printed = capsys.readouterr()
    assert 'Stopped by SIGTERM after step 3' in printed.err
    # all else is in the log
    assert 'INFO' not in printed.out + printed.err
    assert printed.err.count('WARNING') == 1
    assert any('INFO' in log.read_text()
               for log in (tmp_path / 'stopped').glob('*/*.log'))


def test_before_there_is_anything_to_keep():
    with pytest.raises(KeyboardInterrupt), stopped_by_ctrl_c():
        os.kill(os.getpid(), signal.SIGINT)


def test_a_worker_leaves_it_to_its_parent():
    """Which is sent Ctrl-C by the terminal as well."""
    with stopped_by_ctrl_c():
        worker = os.fork()
        if worker == 0:
            os.kill(os.getpid(), signal.SIGINT)
            os._exit(0)
        assert os.waitpid(worker, 0)[1] == 0
