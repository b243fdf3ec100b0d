"""The example in each registered class's docstring is built."""
import doctest
import inspect

import pytest
from mmengine.optim import build_optim_wrapper
from torch import nn

from repfusion_mm.models.utils.building import build_part
from repfusion_mm.registry import (
    DATASETS,
    HOOKS,
    MODELS,
    OPTIM_WRAPPER_CONSTRUCTORS,
    OPTIM_WRAPPERS,
    TRANSFORMS,
)

REGISTRIES = (MODELS, HOOKS, DATASETS, OPTIM_WRAPPERS,
              OPTIM_WRAPPER_CONSTRUCTORS, TRANSFORMS)
for _registry in REGISTRIES:
    _registry.import_from_location()
CLASSES = [cls for registry in REGISTRIES
           for cls in registry.module_dict.values()
           if cls.__module__.startswith('repfusion_mm.')
           and inspect.isclass(cls)]
SHAPES = {'mid_block': (32, 4, 4), 'mid_block.resnets.1.conv2': (32, 4, 4)}


def model(cfg, **defaults):
    return MODELS.build(cfg, default_args=defaults)


def connection(cfg):
    return model(cfg, type='repfusion_mm.Connection',
                 student_shape=(16, 8, 8), teacher_shape=(32, 4, 4))


def optim_wrapper(cfg):
    if 'constructor' not in cfg:
        return build_optim_wrapper(nn.Linear(1, 1), cfg)
    return OPTIM_WRAPPER_CONSTRUCTORS.build(dict(
        type=cfg['constructor'], paramwise_cfg=cfg['paramwise_cfg'],
        optim_wrapper_cfg=dict(optimizer=cfg['optimizer'])))


# what a config of each name is built with
BUILDERS = dict(
    model=model,
    teacher=model,
    time_sampler=model,
    loss=lambda cfg: build_part('loss', cfg, channels=32),
    policy=lambda cfg: model(cfg, num_actions=10),
    reward=lambda cfg: build_part('reward', cfg, feature_shapes=SHAPES,
                                  student_shapes={'out.-1': (16, 8, 8)}),
    connection=connection,
    regressor=lambda cfg: build_part('regressor', cfg, in_channels=[8, 16]),
    connections=lambda cfgs: [connection(cfg) for cfg in cfgs],
    custom_hooks=lambda cfgs: [HOOKS.build(cfg) for cfg in cfgs],
    dataset=DATASETS.build,
    pipeline=lambda cfgs: [TRANSFORMS.build(cfg) for cfg in cfgs],
    optim_wrapper=optim_wrapper,
)


def parts(built):
    """What was built, and everything inside it."""
    if isinstance(built, (list, tuple)):
        return [part for one in built for part in parts(one)]
    if isinstance(built, nn.Module):
        return list(built.modules())
    inside = [getattr(built, 'dataset', []), getattr(built, 'datasets', [])]
    return [built] + [part for one in inside if one for part in parts(one)]


def test_classes_are_found():
    assert len(CLASSES) >= 16


@pytest.mark.parametrize('cls', CLASSES, ids=lambda cls: cls.__name__)
def test_example(cls):
    docstring = cls.__doc__ or ''
    assert 'Example:\n' in docstring, 'no example'
    examples = doctest.DocTestParser().get_examples(
        docstring[docstring.index('Example:\n'):])
    assert examples, 'the example has no code'
    names: dict = {}
    for example in examples:
        exec(example.source, names)
    configs = {name: cfg for name, cfg in names.items() if name in BUILDERS}
    assert configs, f'none of {sorted(BUILDERS)} is defined'
    built = [BUILDERS[name](cfg) for name, cfg in configs.items()]
    assert any(isinstance(part, cls) for part in parts(built)), \
        f'the example builds no {cls.__name__}'


@pytest.mark.parametrize('cls', CLASSES, ids=lambda cls: cls.__name__)
def test_arguments_are_described(cls):
    names = [name for name, parameter
             in inspect.signature(cls).parameters.items()
             if parameter.kind is not parameter.VAR_KEYWORD]
    for name in names:
        assert f'        {name} (' in cls.__doc__, name
