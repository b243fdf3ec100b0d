import pytest

from repfusion_mm.engine.hooks.schedule import Schedule


def values(schedule, start, max_steps):
    return [schedule.value(start, step, max_steps)
            for step in range(max_steps)]


def test_whole_training():
    schedule = Schedule('entropy_weight', end=0.)
    assert values(schedule, 0.8, 4) == pytest.approx([0.8, 0.6, 0.4, 0.2])
    assert schedule.value(0.8, 4, 4) == 0.  # a run that is made longer


@pytest.mark.parametrize('over', [0.5, 4])
def test_first_half(over):
    schedule = Schedule('entropy_weight', end=1., over=over)
    wanted = [3., 2.5, 2., 1.5, 1., 1., 1., 1.]
    assert values(schedule, 3., 8) == pytest.approx(wanted)


def test_longer_than_the_training():
    # a number of steps is what it says, whatever the training's length
    assert values(Schedule('x', end=0., over=8), 1., 4) == pytest.approx(
        [1., 0.875, 0.75, 0.625])


def test_one_step_and_the_whole():
    assert values(Schedule('x', end=0., over=1), 1., 3) == [1., 0., 0.]
    assert values(Schedule('x', end=0., over=1.0), 1., 2) == [1., 0.5]


def test_grows():
    assert values(Schedule('x', end=2.), 0., 4) == pytest.approx(
        [0., 0.5, 1., 1.5])


def test_whole_numbers_stay_whole():
    got = values(Schedule('max_t', end=50, over=0.5), 1000, 20)
    assert all(type(value) is int for value in got)
    assert got[:3] == [1000, 905, 810]
    assert got[10:] == [50] * 10


@pytest.mark.parametrize('start, end', [(10, 0.), (10., 0)])
def test_other_numbers_do_not(start, end):
    assert values(Schedule('x', end=end), start, 4) == pytest.approx(
        [10., 7.5, 5., 2.5])


def test_one_epoch():
    assert Schedule('x', end=0.).value(1., 0, 1) == 1.


@pytest.mark.parametrize('over', [0, 0., -1, -0.5, 1.5])
def test_wrong_share(over):
    with pytest.raises(ValueError, match='`schedules.over`.*a float above 0.*'
                       f'an int.*got {over!r}'):
        Schedule('entropy_weight', end=0., over=over)


@pytest.mark.parametrize('end', ['50', None, True])
def test_end_is_a_number(end):
    with pytest.raises(ValueError, match='`end` is .*a finite number'):
        Schedule('max_t', end)
