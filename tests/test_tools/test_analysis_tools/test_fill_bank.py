"""The feature bank of a training, filled by the tool."""
import pytest
from mmengine.runner import Runner

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
