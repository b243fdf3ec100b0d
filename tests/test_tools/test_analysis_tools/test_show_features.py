import json

import cv2
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope

from repfusion_mm.registry import MODELS

STAGE_1 = 'configs/demo/repfusion_resnet18_uniform_digits.py'


def test_teacher(tool, root, monkeypatch, tmp_path, pipeline_folder, capsys):
    monkeypatch.chdir(root)
    out = tmp_path / 'new' / 'maps'
    show = tool('analysis_tools/show_features')
    rows = show.main([
        'configs/demo/probe_digits.py', '--timesteps', '0', '500', '--images',
        '2', '--fit-images', '5', '--out', str(out), '--cfg-options',
        f'teacher.pretrained={pipeline_folder}'])
    assert [row['name'] for row in rows] == ['t = 0', 't = 500']
    assert rows[0]['shape'] == [32, 8, 8]
    found = json.loads(out.with_suffix('.json').read_text())
    assert found['maps'] == rows and found['tap'] == 'mid_block.resnets.1'
    assert len(found['images']) == 2
    picture = cv2.imread(str(out.with_suffix('.png')))
    assert len({tuple(pixel) for pixel in picture.reshape(-1, 3)}) > 100
    show.print_table(rows)
    assert 't = 500' in capsys.readouterr().out


def test_student(tool, root, monkeypatch, tmp_path, pipeline_folder):
    monkeypatch.chdir(root)
    cfg = Config.fromfile(STAGE_1)
    cfg.model.teacher.pretrained = pipeline_folder
    init_default_scope(cfg.default_scope)
    path = tmp_path / 'student.pth'
    torch.save(dict(state_dict=MODELS.build(cfg.model).state_dict()), path)
    options = ['--cfg-options', f'model.teacher.pretrained={pipeline_folder}']
    rows = tool('analysis_tools/show_features').main([
        STAGE_1, '--timesteps', '0', '--images', '2', '--checkpoint',
        str(path), '--student-taps', 'layer2', 'layer1', '--out',
        str(tmp_path / 'maps'), *options])
    assert [row['name'] for row in rows] == ['t = 0', 'layer2', 'layer1']


def test_errors(tool, root, monkeypatch, capsys):
    monkeypatch.chdir(root)
    main = tool('analysis_tools/show_features').main
    with pytest.raises(SystemExit):
        main([STAGE_1, '--student-taps', 'layer1'])
    assert '--student-taps needs --checkpoint' in capsys.readouterr().err
    with pytest.raises(ValueError, match='of a stage 1'):
        main(['configs/demo/probe_digits.py', '--checkpoint', 'some.pth'])
