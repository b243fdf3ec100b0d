"""The feature bank of a training, filled by the tool."""
import json

import pytest
from mmengine.runner import Runner
from PIL import Image

from repfusion_mm.models.teachers.bank.store import FeatureBank
from repfusion_mm.models.teachers.base.frozen_teacher import FrozenTeacher

CONFIG = 'configs/demo/repfusion_resnet18_bank_digits.py'


def test_filled_ahead(tool, load_config, tmp_path, monkeypatch,
                      pipeline_folder):
    cfg = load_config(CONFIG, **{'model.teacher.bank': str(tmp_path / 'bank')})
    main = tool('analysis_tools/fill_bank').main
    arguments = [CONFIG, '--batch-size', '500', '--cfg-options',
                 f'model.teacher.bank={tmp_path / "bank"}',
                 f'model.teacher.teacher.pretrained={pipeline_folder}']
    assert main(arguments) == 1097
    assert FeatureBank(str(tmp_path / 'bank')).is_full
    assert main(arguments) == 0
    # the training draws from it, and has no need of the teacher
    monkeypatch.setattr(FrozenTeacher, 'init_weights', None)
    Runner.from_cfg(cfg).train()
    assert (tmp_path / 'iter_2.pth').exists()


def test_config_without_bank(tool, root, monkeypatch):
    monkeypatch.chdir(root)
    with pytest.raises(SystemExit, match='is no repfusion_mm.BankedTeacher'):
        tool('analysis_tools/fill_bank').main(
            ['configs/demo/repfusion_resnet18_fixed_digits.py'])


def test_bad_images_are_listed(tool, tmp_path, root, pipeline_folder, capsys):
    for index in range(4):
        Image.new('RGB', (16, 16), (60 * index, 0, 0)).save(
            tmp_path / f'{index}.png')
    (tmp_path / '2.png').write_text('no')
    (tmp_path / 'config.py').write_text(f"""
_base_ = '{root / CONFIG}'
model = dict(teacher=dict(
    teacher=dict(pretrained='{pipeline_folder}'), bank='{tmp_path / 'bank'}',
    dataset=dict(
        _delete_=True, type='CustomDataset', data_root='{tmp_path}',
        with_label=False, pipeline=[
            dict(type='repfusion_mm.LoadCheckedImage', bad_images='skip'),
            dict(type='PackInputs')])))
""")
    tool('analysis_tools/fill_bank').main([str(tmp_path / 'config.py')])
    listed = tmp_path / 'bank/skipped_images.jsonl'
    assert json.loads(listed.read_text())['path'] == str(tmp_path / '2.png')
    assert '1 images cannot be read and have no features; they are listed ' \
        f'in {listed}' in capsys.readouterr().out
