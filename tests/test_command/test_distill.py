"""The whole way, on a handful of real digits."""
import base64
import importlib
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from repfusion_mm.command import distill
from repfusion_mm.command.plan_table import TITLES

DPM = 'configs/demo/dpm_digits'


@pytest.fixture
def options(digits, root, tmp_path, small_batches, monkeypatch):
    """Of a run with a teacher that is there."""
    monkeypatch.chdir(tmp_path)
    return dict(data=digits, teacher=str(root / DPM), epochs=1)


def pictures(report):
    """All pictures of a page, opened."""
    return [Image.open(io.BytesIO(base64.b64decode(found))) for found in
            re.findall(r'base64,([^"]+)"', Path(report).read_text())]


def weights(path):
    state = torch.load(path, weights_only=True)['state_dict']
    assert state and all(name.startswith('backbone.') for name in state)
    return state


def same(one, other):
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert torch.equal(value, other[name]), name


@pytest.mark.slow
def test_with_a_teacher(options, tmp_path, capsys, tool, monkeypatch):
    """A backbone, a page, and a config that runs as it is."""
    result = distill(**options)
    assert result.backbone == str(tmp_path / 'work_dirs/digits_resnet18/'
                                  'backbone.pth')
    assert weights(result.backbone)['backbone.conv1.weight'].shape[2:] == \
        (3, 3)  # the stem for small images
    page = Path(result.report).read_text()
    assert f't = {result.t}' in page and 'src="http' not in page
    assert len(pictures(result.report)) == 2  # the look, and the loss
    printed = capsys.readouterr().out
    assert '48 to distil' in printed and 'diffusion model of' not in printed
    assert 'epochs 1 is little' in printed

    # nothing is done again
    before = Path(result.backbone).stat().st_mtime_ns
    assert distill(**options) == result
    assert Path(result.backbone).stat().st_mtime_ns == before
    assert 'All of it is done' in capsys.readouterr().out

    # and the config is one of stage 1
    monkeypatch.setenv('LOCAL_RANK', '0')
    runner = tool('train').main([result.config, '--work-dir',
                                 str(tmp_path / 'again')])
    same(weights(result.backbone), {
        name: value for name, value in runner.model.state_dict().items()
        if name.startswith('backbone.')})


@pytest.mark.slow
def test_ctrl_c(options, tmp_path, press_ctrl_c, monkeypatch):
    """What was stopped ends as what was not, and no stage is repeated."""
    whole = distill(**options, out=str(tmp_path / 'whole'))
    press_ctrl_c(TITLES['distill'], 3)
    with pytest.raises(SystemExit):
        distill(**options, out=str(tmp_path / 'stopped'))
    done = json.loads((tmp_path / 'stopped/progress.json').read_text())
    assert list(done) == ['choice']
    assert (tmp_path / 'stopped/distill/interrupted.pth').exists()
    module = importlib.import_module('repfusion_mm.command.run')
    monkeypatch.setattr(module, 'choose', None)  # would be an error
    press_ctrl_c('nothing', 0)  # any more
    result = distill(**options, out=str(tmp_path / 'stopped'))
    same(weights(whole.backbone), weights(result.backbone))


@pytest.mark.slow
def test_with_labels_and_a_diffusion_model(options, labels, tmp_path, capsys):
    """All stages there are."""
    result = distill(**{**options, 'teacher': None}, labels=labels)
    out = Path(result.backbone).parent
    assert (out / 'dpm/dpm/model_index.json').exists()
    done = json.loads((out / 'progress.json').read_text())
    assert list(done) == ['dpm', 'choice', 'distill', 'export', 'distilled',
                          'distilled_tested', 'scratch', 'scratch_tested',
                          'scratch_long', 'scratch_long_tested']
    assert [row['arm'] for row in result.comparison] == [
        'distilled', 'scratch', 'scratch_long']
    # of 6 held-out images
    assert all(row['accuracy'] in [100 * n / 6 for n in range(7)]
               for row in result.comparison)
    # look, comparison, two losses, quality, classifiers, samples
    assert len(pictures(result.report)) == 7
    # the distilled one began with the backbone
    log = next((out / 'classifiers/distilled').glob('*/*.log')).read_text()
    assert 'backbone.pth' in log
    page = Path(result.report).read_text()
    assert 'On 6 images that nothing has seen' in page
    assert 'with seed 0' in page


@pytest.mark.slow
def test_reinforced(options, labels):
    result = distill(**options, labels=labels, time='reinforced')
    folder = Path(result.backbone).parent / 'distill'
    assert (folder / 'look.json').exists()


KILLED = '''
import os, signal, sys
from repfusion_mm.__main__ import main
from repfusion_mm.command import rules
from repfusion_mm.command.training import BarHook
rules.BATCH, after = 8, BarHook.after_train_iter
def killing(self, runner, *args, **kwargs):
    after(self, runner, *args, **kwargs)
    if [self.title, str(runner.iter)] == sys.argv[1:3]:
        os.kill(os.getpid(), signal.SIGKILL)
BarHook.after_train_iter = killing
sys.exit(main(['distill', *sys.argv[3:]]))
'''


@pytest.mark.slow
def test_killed(options, tmp_path, root):
    """Without a word, in the middle of each stage."""

    def run(title, step, out):
        return subprocess.run(
            [sys.executable, '-c', KILLED, title, str(step), options['data'],
             '--epochs', '1', '--out', out, '--device', 'cpu'], cwd=tmp_path,
            env=dict(os.environ, PYTHONPATH=str(root), OMP_NUM_THREADS='1'),
            capture_output=True, text=True)

    assert run(TITLES['dpm'], 13, 'killed').returncode == -9
    assert run(TITLES['distill'], 4, 'killed').returncode == -9
    last = run('', -1, 'killed')
    assert last.returncode == 0, last.stderr
    whole = run('', -1, 'whole')
    assert whole.returncode == 0, whole.stderr
    same(*(weights(tmp_path / name / 'backbone.pth')
           for name in ('killed', 'whole')))
