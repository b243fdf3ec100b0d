import json


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
