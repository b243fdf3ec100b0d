"""The taps of a teacher, as the tool prints them."""
import json

import pytest


@pytest.fixture
def main(tool):
    return tool('analysis_tools/list_taps').main


def test_folder(main, pipeline_folder, tmp_path, capsys):
    path = tmp_path / 'taps.json'
    taps = main([pipeline_folder, '--match', '*resnets.?', '--json',
                 str(path), '--image-size', '32', '48'])
    printed = capsys.readouterr().out
    assert 'images of 32x48' in printed
    assert [one['path'] for one in json.loads(path.read_text())] == [
        tap.path for tap in taps]
    for tap in taps:
        assert tap.path in printed
    [middle] = [tap for tap in taps if tap.path == 'mid_block.resnets.0']
    assert middle.shape == (32, 16, 24)


def test_every_module(main, pipeline_folder):
    assert len(main([pipeline_folder, '--all'])) > \
        2 * len(main([pipeline_folder]))


@pytest.mark.parametrize('config', [
    'repfusion_resnet18_fixed_digits', 'repfusion_resnet18_bank_digits',
    'probe_digits'])
def test_config(main, root, monkeypatch, config):
    monkeypatch.chdir(root)
    taps = main([f'configs/demo/{config}.py'])
    assert 'mid_block.resnets.1' in [tap.path for tap in taps]


def test_errors(main, root, monkeypatch, pipeline_folder):
    monkeypatch.chdir(root)
    with pytest.raises(SystemExit, match='no `model.teacher` and no'):
        main(['configs/demo/resnet18_scratch_digits.py'])
    with pytest.raises(SystemExit, match="'midblock' matches none of .*"
                       "nearest: 'mid_block'"):
        main([pipeline_folder, '--match', 'midblock'])
