import json

import pytest


def test_probe(tool, root, monkeypatch, tmp_path, pipeline_folder):
    monkeypatch.chdir(root)
    out = tmp_path / 'new' / 'probe'
    rows = tool('analysis_tools/probe_time').main([
        'configs/demo/probe_digits.py', '--seeds', '2', '--out', str(out),
        '--cfg-options', f'teacher.pretrained={pipeline_folder}',
        'timesteps=[0,900]'])
    assert [row['t'] for row in rows] == [0, 900]
    for row in rows:
        assert 10 < row['accuracy'] <= 100
        assert len(row['per_seed']) == 2
    assert json.loads(out.with_suffix('.json').read_text()) == rows
    assert out.with_suffix('.png').is_file()


def test_table(tool, capsys):
    tool('analysis_tools/probe_time').print_table(
        [dict(t=40, accuracy=81.25, std_error=1.5)])
    printed = capsys.readouterr().out
    assert '40' in printed and '81.2' in printed and '1.5' in printed


def test_several_taps(tool, root, monkeypatch, tmp_path, pipeline_folder,
                      capsys):
    monkeypatch.chdir(root)
    out = tmp_path / 'probe'
    probe = tool('analysis_tools/probe_time')
    options = ['configs/demo/probe_digits.py', '--seeds', '2', '--out',
               str(out), '--taps', 'conv_in', 'mid_block', '--cfg-options',
               f'teacher.pretrained={pipeline_folder}', 'timesteps=[0,900]']
    rows = probe.main(options)
    assert [(row['tap'], row['t']) for row in rows] == [
        ('conv_in', 0), ('conv_in', 900), ('mid_block', 0), ('mid_block', 900)]
    # the first convolution is not told t
    assert rows[0]['per_seed'] == rows[1]['per_seed']
    assert rows[0]['knn_per_seed'] == rows[1]['knn_per_seed']
    assert all(5 < row['knn'] <= 100 for row in rows)
    assert json.loads(out.with_suffix('.json').read_text()) == rows
    probe.print_table(rows)
    assert 'mid_block' in capsys.readouterr().out

    # what lies on disk is not computed again
    from repfusion_mm.models.teachers import UNetTeacher
    monkeypatch.setattr(UNetTeacher, 'forward', None)
    assert probe.main(options) == rows
    with pytest.raises(ValueError, match='`timesteps`: delete the folder'):
        probe.main([*options, 'timesteps=[0,800]'])
