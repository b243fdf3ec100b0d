"""Arguments of all registered classes, drawn at random."""
import math
import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.test_bad_configs.working import (
    example,
    parameters,
    registered,
    train,
    write_files,
)

REGISTERED = registered()
NUMBERS = [-1, 0, 1, 2, 3, 8, 100, 2**62, 0.5, -0.5, 1e300, math.nan,
           math.inf, -math.inf]
NONSENSE = [None, True, False, *NUMBERS, '', 'no_such', '3', [], [0], [1, 2],
            [8, -8], ['a'], [None], {}, dict(a=1),
            dict(type='repfusion_mm.NoSuch'), dict(type=None)]


# a tap of a connection or a reward is handed on to the teacher as one of its
# `taps`; where two parts do not fit each other the part is named
HANDED_ON = dict(teacher_tap='taps', tap='taps', max_t='time_sampler',
                 min_t='time_sampler')
# what is looked at before anything of ours is asked
OF_OTHERS = {
    ('BFloat16OptimWrapper', 'optimizer'): "MMEngine's constructor builds it",
    ('BFloat16OptimWrapper', 'clip_grad'): 'torch clips',
    ('StridedBackbone', 'init_cfg'): 'MMEngine initialises'}
# values inside of these are not changed
INSIDE_OF_OTHERS = {
    ('JointRepFusion', 'task'): 'its parts may not fit, as mmpretrain says',
    ('DPM', 'denoiser'): 'diffusers builds what it cannot run',
    ('FewLabels', 'dataset'): 'a pipeline may pack nothing',
    ('UNetTeacher', 'config'): 'diffusers builds what it cannot run',
    ('ClassifierTeacher', 'model'): 'mmpretrain builds what it cannot run',
    ('StridedBackbone', 'backbone'): 'mmpretrain builds what it cannot run',
    ('RepFusion', 'backbone'): 'mmpretrain builds what it cannot run'}


def like(value):
    """What someone may write in place of a value that works."""
    if isinstance(value, bool) or value is None:
        return []
    if isinstance(value, (int, float)):
        return [value * 2, value / 2, -value, value + 0.5, str(value)]
    if isinstance(value, str):
        return [value[:-1], value.upper(), [value]]
    if isinstance(value, dict):
        return [
            dict(value, no_such=1),
            # what a pipeline takes is its library's
            *({**value, key: other} for key, old in value.items()
              if key != 'pipeline'
              for other in [*like(old), *NONSENSE[:6], '', 'no_such', {}]),
            *({other: one for other, one in value.items() if other != key}
              for key in value)]
    if isinstance(value, (list, tuple)):
        value = list(value)
        return [value + value, value[:-1], value[:1] + [value],
                *([other] for one in value for other in like(one))]
    return []  # a parameter without a default


def changes(name):
    """Configs of a class that work, but for one change.

    Args:
        name (str): Of the class.

    Returns:
        list[tuple]: The argument that is changed, and the config.
    """
    _, cls = REGISTERED[name]
    works, known = example(name, cls), parameters(cls)
    changed = [
        (key, value) for key, one in known.items()
        if (name, key) not in OF_OTHERS
        for value in [*NONSENSE, *(
            [] if (name, key) in INSIDE_OF_OTHERS else
            like(works.get(key, one.default)))]]
    return [(key, dict(works, type=f'repfusion_mm.{name}', **{key: value}))
            for key, value in [*changed, ('no_such', 1)]]


def changed_keys(before, after):
    """Keys of the innermost values that differ, and of what they are in."""
    if isinstance(before, dict) and isinstance(after, dict):
        return {key for one in {*before, *after}
                if before.get(one) != after.get(one)
                for key in {one, *changed_keys(before.get(one),
                                               after.get(one))}}
    if isinstance(before, (list, tuple)) and isinstance(after, list):
        return {key for one, other in zip(before, after)
                for key in changed_keys(one, other)}
    return set()


def names_the_key(message, name, key, value):
    """Whether an error says what to change.

    Args:
        message (str): Of the error.
        name (str): Of the class.
        key (str): The argument that was changed.
        value (Any): What it was changed to.
    """
    before = example(name, REGISTERED[name][1]).get(key)
    keys = {key, *changed_keys(before, value)}
    keys |= {HANDED_ON.get(one) for one in keys}
    return bool(keys & set(re.findall(r'\w+', message)))


def check(name, key, cfg, folder):
    """Either an error names the key, or two steps are trained.

    Args:
        name (str): Of the class.
        key (str): The argument that was changed.
        cfg (dict): With the change.
        folder (Path): To write to.
    """
    try:
        losses = train(name, cfg, folder)
    except FloatingPointError:  # a number that overflows; it says where
        return
    except Exception as error:
        assert names_the_key(str(error), name, key, cfg[key]), \
            f'{key}={cfg[key]!r}: {type(error).__name__}: {error}'
    else:
        assert all(map(math.isfinite, losses))


@pytest.fixture(scope='module', autouse=True)
def files(tmp_path_factory):
    write_files(tmp_path_factory.mktemp('files'))


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return lambda: tmp_path_factory.mktemp('run')


@pytest.mark.parametrize('name', REGISTERED)
def test_few(name, folder):
    run(name, folder, 2)


@pytest.mark.slow
@pytest.mark.parametrize('name', REGISTERED)
def test_many(name, folder):
    run(name, folder, 100)


def run(name, folder, examples):
    """Draw changes of a class's arguments, and look at each."""

    @settings(derandomize=True, max_examples=examples, deadline=None,
              database=None, suppress_health_check=list(HealthCheck))
    @given(st.sampled_from(changes(name)))
    def each(change):
        check(name, *change, folder())

    each()
