import copy
import os
import subprocess
import sys

import pytest
from mmengine.registry import DefaultScope
from torch import nn

from repfusion_mm.models.utils.building import build_part, preprocessor_config
from repfusion_mm.registry import MODELS

FRESH = """
import sys


class Blocked:

    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in ('mmseg', 'mmpose', 'mmdet'):
            raise ImportError(f'{name} is not installed')


sys.meta_path.insert(0, Blocked())
from mmengine.registry import MODELS

model = MODELS.build(dict(
    type='repfusion_mm.RepFusion',
    backbone=dict(type='mmpretrain.ResNet_CIFAR', depth=18, base_channels=4,
                  stem_channels=4),
    teacher=dict(
        type='repfusion_mm.UNetTeacher',
        config=dict(sample_size=16, layers_per_block=1, norm_num_groups=8,
                    block_out_channels=(16, 32),
                    down_block_types=('DownBlock2D', 'DownBlock2D'),
                    up_block_types=('UpBlock2D', 'UpBlock2D'))),
    time_sampler=dict(type='repfusion_mm.UniformTime'),
    connections=[dict(student_tap='layer4', teacher_tap='mid_block')]))
assert type(model).__module__.startswith('repfusion_mm.')
assert not {'mmseg', 'mmpose', 'mmdet'} & set(sys.modules)
print('built')
"""


@pytest.mark.slow
def test_only_mmengine_imported(root):
    done = subprocess.run(
        [sys.executable, '-c', FRESH], cwd=root, text=True,
        env={**os.environ, 'PYTHONPATH': str(root)}, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith('built')


@pytest.mark.parametrize('scope', ['mmpretrain', 'mmseg'])
def test_scope_of_its_own(scope):
    pytest.importorskip('mmseg')
    with DefaultScope.overwrite_default_scope('mmengine'):
        part = build_part('backbone', dict(
            type=f'{scope}.ResNet', depth=18, base_channels=4,
            stem_channels=4))
        assert type(part).__module__.startswith(f'{scope}.')
        assert DefaultScope.get_current_instance().scope_name == 'mmengine'


def test_nested_scope():
    # the unscoped parts of an mmseg model are mmseg's
    pytest.importorskip('mmseg')
    cfg = dict(
        type='mmseg.EncoderDecoder',
        backbone=dict(type='ResNet', depth=18, base_channels=4,
                      stem_channels=4),
        decode_head=dict(type='FCNHead', in_channels=32, channels=4,
                         num_classes=2, in_index=3, num_convs=1))
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        part = build_part('task', cfg)
    assert type(part.backbone).__module__.startswith('mmseg.')


def test_default_scope():
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        part = build_part('backbone', dict(
            type='ResNet', depth=18, base_channels=4, stem_channels=4))
    assert type(part).__module__.startswith('mmpretrain.')


def test_defaults_and_config_untouched():
    cfg = dict(type='repfusion_mm.UniformTime', max_t=50)
    before = copy.deepcopy(cfg)
    part = build_part('time_sampler', cfg, max_t=100, min_t=10)
    assert (part.min_t, part.max_t) == (10, 50)
    assert cfg == before


class Open(nn.Module):
    """Takes anything."""

    def __init__(self, **arguments):
        super().__init__()
        self.arguments = arguments


class Closed(nn.Module):
    """Takes two things."""

    def __init__(self, width, *, depth=3):
        super().__init__()
        self.arguments = dict(width=width, depth=depth)


@pytest.fixture
def registered():
    for cls in (Open, Closed):
        MODELS.register_module(cls.__name__, module=cls)
    yield
    for cls in (Open, Closed):
        del MODELS.module_dict[cls.__name__]


def test_unknown_defaults_are_left_out(registered):
    part = build_part('reward', dict(type='repfusion_mm.Closed'), width=5,
                      depth=2, height=7)
    assert part.arguments == dict(width=5, depth=2)
    part = build_part('reward', dict(width=1), height=7,
                      type='repfusion_mm.Closed')
    assert part.arguments == dict(width=1, depth=3)


@pytest.mark.parametrize('cls', [Open, 'repfusion_mm.Open'])
def test_class_that_takes_anything(registered, cls):
    part = build_part('reward', dict(type=cls, width=1), height=7)
    assert part.arguments == dict(width=1, height=7)


def test_type_that_is_a_class():
    part = build_part('reward', dict(type=Closed), width=5, height=7)
    assert part.arguments == dict(width=5, depth=3)


def test_unknown_argument_of_the_config(registered):
    # only what the model adds by itself may be left out
    with pytest.raises(TypeError, match='height'):
        build_part('reward', dict(type='repfusion_mm.Closed', height=7),
                   width=5)


def test_missing_argument(registered):
    with pytest.raises(TypeError, match='width'):
        build_part('reward', dict(type='repfusion_mm.Closed'), height=7)


def test_built_already():
    part = nn.Linear(1, 1)
    assert build_part('reward', part) is part


@pytest.mark.parametrize('scope', [None, 'mmpretrain'])
def test_typo(scope):
    with DefaultScope.overwrite_default_scope(scope):
        with pytest.raises(KeyError, match='`reward.type`.*nearest.*'
                           'repfusion_mm.ClassificationReward'):
            build_part('reward',
                       dict(type='repfusion_mm.ClasificationReward'))


def test_typo_of_another_library():
    with pytest.raises(KeyError, match='`backbone.type`.*mmpretrain.ResNet'):
        build_part('backbone', dict(type='mmpretrain.ResNt', depth=18))


@pytest.mark.parametrize('cfg', [dict(depth=18), 'ResNet', None])
def test_no_type(cfg):
    with pytest.raises(TypeError, match='`backbone` must be a config'):
        build_part('backbone', cfg)


def test_preprocessor():
    assert preprocessor_config(None)['type'] == \
        'mmengine.ImgDataPreprocessor'
    assert preprocessor_config(dict(mean=[1])) == dict(
        type='mmengine.ImgDataPreprocessor', mean=[1])
    cfg = dict(type='mmpretrain.ClsDataPreprocessor')
    assert preprocessor_config(cfg) == cfg
    part = nn.Identity()
    assert preprocessor_config(part) is part


@pytest.mark.parametrize('cfg, match', [
    (dict(hiden=(8, ), num_classes=3), "`reward.hiden`: ClassificationReward "
     "has no such argument; nearest: 'hidden'"),
    (dict(), '`reward.num_classes` is missing: ClassificationReward needs')])
def test_arguments_of_a_part(cfg, match):
    with pytest.raises(TypeError, match=match):
        build_part('reward', dict(
            cfg, type='repfusion_mm.ClassificationReward'),
            feature_shapes=dict(a=(4, 2, 2)))
