import pytest

from repfusion_mm.command.plan_error import PlanError
from repfusion_mm.command.rules import (
    all_steps,
    distil_steps,
    training_size,
)


@pytest.mark.parametrize('side, teacher, size', [
    (500, None, 64), (64, None, 64), (63, None, 32), (31, None, 16),
    (8, None, 16), (500, 32, 32), (500, 256, 256), (500, 512, 256),
    (100, 256, 64), (32, 16, 16)])
def test_training_size(side, teacher, size):
    assert training_size(side, teacher, None) == size
    assert training_size(side, teacher, 48) == 48


@pytest.mark.parametrize('asked', [0, 8, 40, -16])
def test_size_that_will_not_do(asked):
    with pytest.raises(PlanError, match=f'--size is {asked}, expected a '
                       'multiple of 16'):
        training_size(500, None, asked)


def test_steps():
    assert distil_steps(64_000, None) == 20_000  # 20 passes
    assert distil_steps(640, None) == 2000  # few images: many passes
    assert distil_steps(640, 5) == 50
    assert distil_steps(650, 1) == 11  # the last one is begun
    assert distil_steps(20, 3) == 3  # all images in each step


def test_all_steps():
    assert all_steps(640, 5, True, True) == dict(
        dpm=200, distill=50, distilled=25, scratch=25, scratch_long=75)
    assert all_steps(640, 5, False, False) == dict(distill=50)
    assert all_steps(640_000, None, False, True)['distilled'] == 2000
