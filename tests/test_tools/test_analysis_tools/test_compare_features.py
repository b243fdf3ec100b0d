import json

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope

from repfusion_mm.registry import MODELS

STAGE_1 = 'configs/demo/repfusion_resnet18_uniform_digits.py'


def test_all(tool, root, monkeypatch, tmp_path, pipeline_folder, capsys):
    monkeypatch.chdir(root)
    cfg = Config.fromfile(STAGE_1)
    cfg.model.teacher.pretrained = pipeline_folder
    init_default_scope(cfg.default_scope)
    path, out = tmp_path / 'student.pth', tmp_path / 'new' / 'cka'
    torch.save(dict(state_dict=MODELS.build(cfg.model).state_dict()), path)
    compare = tool('analysis_tools/compare_features')
    found = compare.main([
        STAGE_1, '--taps', 'conv_in', 'mid_block', '--timesteps', '0', '600',
        '--checkpoint', str(path), '--student-taps', 'layer1', '--model',
        'configs/demo/resnet18_scratch_digits.py', '--model-taps',
        'backbone.layer4', '--images', '60', '--draws', '2', '--out',
        str(out), '--cfg-options',
        f'model.teacher.pretrained={pipeline_folder}'])
    assert found.names == [
        'conv_in t=0', 'conv_in t=600', 'mid_block t=0', 'mid_block t=600',
        'model backbone.layer4', 'student layer1']
    # the first convolution is not told t
    assert found.cka[0, 1] == pytest.approx(1)
    assert 0 < found.cka[0, 4] < 0.999 and found.images == 30
    assert json.loads(out.with_suffix('.json').read_text()) == found.record()
    assert out.with_suffix('.png').is_file()
    compare.print_table(found)
    assert 'student layer1' in capsys.readouterr().out


def test_errors(tool, capsys):
    main = tool('analysis_tools/compare_features').main
    for options, said in (
            (['--student-taps', 'layer1'], 'needs --checkpoint'),
            (['--model', 'a', 'b', 'c'], 'a config and a checkpoint')):
        with pytest.raises(SystemExit):
            main([STAGE_1, *options])
        assert said in capsys.readouterr().err
