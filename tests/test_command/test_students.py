import copy

import pytest
import torch

from repfusion_mm.command.configs import student_config
from repfusion_mm.command.plan import Plan
from repfusion_mm.command.students import STUDENTS


def plan_of(student, size):
    return Plan(data='', student=student, teacher='', out='', labels=None,
                size=size, epochs=None, val_share=0.2, time='fixed')


@pytest.mark.parametrize('size', [16, 32, 64, 128])
@pytest.mark.parametrize('student', sorted(STUDENTS))
def test_fits_images_of_every_size(build, student, size):
    """A map of at least 2x2, as wide as is said, as many parameters."""
    from mmengine.registry import init_default_scope
    init_default_scope('mmpretrain')
    backbone, width = student_config(plan_of(student, size))
    before = copy.deepcopy(backbone)
    model = build(backbone)
    model.eval()
    with torch.no_grad():
        last = model(torch.zeros(1, 3, size, size))[-1]
    assert last.shape[1] == width and min(last.shape[2:]) >= 2
    params = sum(one.numel() for one in model.parameters()) / 1e6
    assert params == pytest.approx(STUDENTS[student].params, rel=0.05)
    # each time anew, since init_cfg is put into it
    assert student_config(plan_of(student, size))[0] == before


def test_in_the_help(capsys):
    from repfusion_mm.__main__ import main
    with pytest.raises(SystemExit, match='0'):
        main(['distill', '--help'])
    printed = capsys.readouterr().out
    assert all(f'  {name} ' in printed for name in STUDENTS)
