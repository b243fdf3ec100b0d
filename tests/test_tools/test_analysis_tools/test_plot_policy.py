import json

import pytest
from mmengine.runner import Runner

STAGE_1 = 'configs/demo/repfusion_resnet18_reinforced_digits.py'


@pytest.fixture
def plot_policy(tool):
    return tool('analysis_tools/plot_policy')


def test_a_training(plot_policy, load_config, tmp_path, capsys):
    cfg = load_config(STAGE_1, **{
        'model.time_sampler.look': False, 'custom_hooks': [dict(
            type='repfusion_mm.TimeSamplerHook', interval=1)]})
    Runner.from_cfg(cfg).train()
    # as it is where the config names no work_dir of its own
    cfg.dump(str(tmp_path / 'stage_1.py'))
    classes = plot_policy.main([
        str(tmp_path), '--draws', '1', '--show', '3', '--data',
        'configs/demo/resnet18_scratch_digits.py', '--split', 'val',
        '--images', '40'])
    assert classes[-1]['class'] == 'all' and classes[-1]['images'] == 40
    assert {one['class'] for one in classes[:-1]} <= set('0123456789')
    assert 0 < classes[-1]['mean_t'] < 999 and classes[-1]['reward'] < 0
    found = json.loads((tmp_path / 'policy.json').read_text())
    assert found['classes'] == classes and len(found['steps']) == 2
    assert len(found['images']) == 40 and found['look'] is None
    assert (tmp_path / 'policy.png').is_file()
    assert (tmp_path / 'policy_images.png').is_file()
    plot_policy.print_table(classes)
    assert 'all' in capsys.readouterr().out


def test_errors(plot_policy, tmp_path):
    with pytest.raises(SystemExit, match='no time_steps.jsonl'):
        plot_policy.main([str(tmp_path)])
    (tmp_path / 'time_steps.jsonl').write_text('{"iter": 1}\n')
    with pytest.raises(SystemExit, match='has no config'):
        plot_policy.main([str(tmp_path)])
    (tmp_path / 'some.py').write_text('model = dict()\n')
    with pytest.raises(SystemExit, match='no checkpoint'):
        plot_policy.main([str(tmp_path)])
