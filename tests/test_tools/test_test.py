import inspect
import json
import os
import pickle
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

CONFIG = 'configs/demo/resnet18_scratch_digits.py'


@pytest.fixture
def run(tool, root, monkeypatch):
    monkeypatch.chdir(root)
    monkeypatch.setenv('LOCAL_RANK', '0')
    return tool('test').main


@pytest.fixture
def arguments(root, monkeypatch, tmp_path):
    """Command line of a test of random weights, in a work dir of its own."""
    from mmengine.config import Config
    from mmpretrain.registry import MODELS
    monkeypatch.chdir(root)
    model = MODELS.build(Config.fromfile(CONFIG).model)
    path = str(tmp_path / 'model.pth')
    torch.save(dict(state_dict=model.state_dict()), path)
    return [CONFIG, path, '--work-dir', str(tmp_path / 'work')]


def predictions(path):
    with open(path, 'rb') as file:
        return pickle.load(file)


def accuracy(results):
    hits = [bool((r['pred_label'] == r['gt_label']).all()) for r in results]
    return 100 * sum(hits) / len(hits)


def test_metrics_and_predictions(run, arguments, tmp_path):
    out = str(tmp_path / 'out.pkl')
    metrics = run([*arguments, '--out', out])
    results = predictions(out)
    assert len(results) == 500
    assert metrics['accuracy/top1'] == pytest.approx(accuracy(results))


def test_out_item_metrics(run, arguments, tmp_path):
    out = tmp_path / 'out.json'
    metrics = run([*arguments, '--out', str(out), '--out-item', 'metrics'])
    assert json.loads(out.read_text()) == metrics


def test_predictions_are_pickled(run, arguments, capsys):
    with pytest.raises(SystemExit):
        run([*arguments, '--out', 'results.json'])
    assert 'saved as .pkl' in capsys.readouterr().err


def test_show_dir(run, arguments, tmp_path):
    run([*arguments, '--show-dir', str(tmp_path / 'pictures'),
         '--interval', '100'])
    pictures = list((tmp_path / 'pictures').rglob('*.png'))
    assert len(pictures) == 5


def test_weights_are_loaded(run, arguments):
    weights = torch.load(arguments[1])['state_dict']
    for key, value in weights.items():
        if key == 'head.fc.weight':
            value.zero_()
        if key == 'head.fc.bias':
            value.copy_(torch.arange(10) == 3)
    torch.save(dict(state_dict=weights), arguments[1])
    metrics = run([*arguments, '--cfg-options',
                   'test_dataloader.batch_size=250'])
    # always says 3: 51 or so of the 500
    assert metrics['accuracy/top1'] == pytest.approx(10, abs=0.5)


def test_no_checkpoint(run):
    with pytest.raises(SystemExit, match='no/such.pth does not exist'):
        run([CONFIG, 'no/such.pth'])


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason='there is a GPU')
def test_two_processes(root, run, arguments, tmp_path):
    out, one = str(tmp_path / 'two.pkl'), str(tmp_path / 'one.pkl')
    done = subprocess.run(
        [sys.executable, '-m', 'torch.distributed.run', '--standalone',
         '--nproc_per_node', '2', 'tools/test.py', *arguments, '--out', out,
         '--launcher', 'pytorch'],
        cwd=root, text=True, capture_output=True, timeout=600,
        env={**os.environ, 'PYTHONPATH': str(root), 'OMP_NUM_THREADS': '1'})
    assert done.returncode == 0, done.stderr[-3000:]
    run([*arguments, '--out', one])
    both, single = predictions(out), predictions(one)
    assert len(both) == len(single) == 500
    for two, alone in zip(both, single):
        torch.testing.assert_close(two['pred_score'], alone['pred_score'])


def test_show_dir_of_a_segmentor(run):
    """mmseg's hook takes no folder: its visualizer has one."""
    from mmengine.config import Config
    arguments = SimpleNamespace(
        launcher='none', checkpoint='x.pth', work_dir='work', show=False,
        show_dir='pictures', interval=3, wait_time=0, cfg_options=None,
        config='x.py')
    cfg = run.__globals__['merge_args'](Config(dict(
        default_scope='mmseg',
        default_hooks=dict(visualization=dict(type='SegVisualizationHook')),
        visualizer=dict(type='SegLocalVisualizer'))), arguments)
    hook = dict(cfg.default_hooks.visualization)
    assert hook.pop('draw') is True
    assert cfg.visualizer.save_dir == 'pictures'
    mmseg = pytest.importorskip('mmseg.engine.hooks')
    accepted = inspect.signature(mmseg.SegVisualizationHook).parameters
    assert set(hook) - {'type'} <= set(accepted)
