"""Taps against a teacher that is cut off at each of them."""
import pytest

from repfusion_mm.analysis.teacher_cost import teacher_cost
from repfusion_mm.analysis.teacher_taps import teacher_taps


@pytest.fixture
def teacher(build, pipeline_folder):
    return build(dict(type='repfusion_mm.DiffusionTeacher',
                      pretrained=pipeline_folder))


def test_as_a_training_finds_them(teacher, build, pipeline_folder):
    taps = teacher_taps(teacher)
    by_path = {tap.path: tap for tap in taps}
    assert {'conv_in', 'down_blocks.0.resnets.0.conv1', 'mid_block',
            'up_blocks.1.resnets.0'} <= set(by_path)
    for path in ('down_blocks.0', 'mid_block.attentions.0.to_q',
                 'mid_block.resnets.1', 'up_blocks.1'):
        cost = teacher_cost(teacher, [path])
        assert by_path[path].shape == cost.shapes[path]
        assert by_path[path].share == pytest.approx(cost.share, abs=1e-9)
    shares = [tap.share for tap in taps]
    assert shares == sorted(shares) and shares[-1] == 1
    # each of them is one
    build(dict(type='repfusion_mm.DiffusionTeacher',
               pretrained=pipeline_folder, taps=list(by_path)))


def test_blocks(teacher):
    blocks = {tap.path for tap in teacher_taps(teacher) if tap.is_block}
    assert {'mid_block', 'mid_block.resnets.0', 'up_blocks.0'} <= blocks
    assert not {'conv_in', 'time_embedding',
                'mid_block.attentions.0.to_q'} & blocks
