import json

import pytest
from mmengine.config import Config
from mmengine.runner import Runner

DIGITS = 'configs/demo/repfusion_resnet18_reinforced_digits.py'


@pytest.mark.slow
@pytest.mark.parametrize('val', [False, True])
def test_digits(tool, root, monkeypatch, tmp_path, val):
    """The shipped diffusion model knows more than 20 labels teach.

    By 20 images alone that cannot be told from a student that was trained for
    a moment.
    """
    monkeypatch.chdir(root)
    out = tmp_path / 'new' / 'answer'
    result = tool('analysis_tools/will_it_pay').main([
        DIGITS, '--out', str(out), '--times', '4', '--steps', '30', '--taps',
        'mid_block.resnets.0', 'mid_block.resnets.1', *(
            ['--val', 'configs/demo/resnet18_scratch_digits.py'] if val
            else [])])
    assert result['verdict'] == ('yes' if val else 'open')
    assert result['predicted'] == (200 if val else 20)
    assert result['images'] == 20 and result['t'] < 700
    assert 0.4 < result['probe'] < 0.9
    assert result['low'] < result['gain'] < result['high']
    assert result['gain'] == pytest.approx(
        result['probe'] - result['scratch'])
    assert set(result['taps']) == {'mid_block.resnets.0',
                                   'mid_block.resnets.1'}
    assert json.loads(out.with_suffix('.json').read_text()) == result
    assert out.with_suffix('.png').is_file()

    # and the config that it wrote runs
    cfg = Config.fromfile(out.with_suffix('.py'))
    assert cfg.model.connections[0].teacher_tap == result['tap']
    assert cfg.model.time_sampler == dict(type='repfusion_mm.FixedTime',
                                          t=result['t'])
    cfg.merge_from_dict({
        'work_dir': str(tmp_path), 'train_cfg.max_iters': 1,
        'param_scheduler': None, 'train_dataloader.batch_size': 8})
    Runner.from_cfg(cfg).train()


def test_small(tool, root, monkeypatch, tmp_path, pipeline_folder, capsys):
    monkeypatch.chdir(root)
    out = tmp_path / 'answer'
    result = tool('analysis_tools/will_it_pay').main([
        DIGITS, '--out', str(out), '--labels', '1', '--times', '2',
        '--steps', '2', '--views', '1', '--taps', 'mid_block.resnets.1',
        '--cfg-options', f'model.teacher.pretrained={pipeline_folder}',
        'train_dataloader.dataset.datasets.1.times=3',
        '--labels', '2'])
    printed = capsys.readouterr().out
    assert ' '.join(result['advice'].split()) in ' '.join(printed.split())
    # changes that no file knows are written down whole
    cfg = Config.fromfile(out.with_suffix('.py'))
    assert cfg.model.teacher.pretrained == pipeline_folder
    few = cfg.train_dataloader.dataset.datasets[1]
    assert (few.times, few.dataset.labels_per_class) == (3, 2)
    assert cfg.model.time_sampler.t == result['t']
    assert cfg.model.reward is None
