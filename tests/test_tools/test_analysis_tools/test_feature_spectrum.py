import json

import pytest


def test_digits(tool, root, monkeypatch, tmp_path, pipeline_folder, capsys):
    monkeypatch.chdir(root)
    out = tmp_path / 'new' / 'spectrum'
    spectrum = tool('analysis_tools/feature_spectrum')
    rows = spectrum.main([
        'configs/demo/probe_digits.py', '--taps', '--timesteps', '900', '0',
        '--images', '30', '--draws', '2', '--out', str(out),
        '--cfg-options', f'teacher.pretrained={pipeline_folder}'])
    # two blocks on the way up, of two residual blocks each
    assert len({row['tap'] for row in rows}) == 5
    assert [row['t'] for row in rows[:2]] == [0, 900]
    for row in rows:
        assert row['images'] == 15 and 1 < row['centred_rank'] < 15
        assert len(row['singular_values']) == min(15, row['channels'])
    assert json.loads(out.with_suffix('.json').read_text()) == rows
    assert out.with_suffix('.png').is_file()
    spectrum.print_table(rows)
    assert f'{rows[0]["centred_rank"]:.1f}' in capsys.readouterr().out


def test_errors(tool, root, monkeypatch, pipeline_folder):
    monkeypatch.chdir(root)
    main = tool('analysis_tools/feature_spectrum').main
    options = ['--cfg-options', f'teacher.pretrained={pipeline_folder}']
    config = 'configs/demo/probe_digits.py'
    with pytest.raises(ValueError, match="nearest: 'mid_block'"):
        main([config, '--taps', 'midblock', *options])
    with pytest.raises(ValueError, match='1000.*knows 0 to 999'):
        main([config, '--timesteps', '1000', *options])
    with pytest.raises(ValueError, match='no `model.teacher` and no'):
        main(['configs/demo/resnet18_scratch_digits.py'])
    with pytest.raises(ValueError, match='no `val_dataloader`, only of '
                                         r"\['train'\]"):
        main(['configs/demo/repfusion_resnet18_uniform_digits.py', '--split',
              'val', '--cfg-options',
              f'model.teacher.pretrained={pipeline_folder}'])
