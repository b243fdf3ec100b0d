import pytest

from repfusion_mm.engine.hooks.where_weights_fit import where_weights_fit

BACKBONE = ['conv1.weight', 'layer1.0.conv1.weight', 'layer1.0.bn1.bias',
            'layer2.0.conv1.weight']
MODEL = [f'backbone.{key}' for key in BACKBONE] + ['head.fc.weight']


def prefixed(prefix, keys):
    return [prefix + key for key in keys]


@pytest.mark.parametrize('wanted, given, found', [
    (BACKBONE, prefixed('backbone.', BACKBONE), ('', 'backbone.')),
    (BACKBONE, prefixed('module.task.backbone.', BACKBONE),
     ('', 'module.task.backbone.')),
    (MODEL, prefixed('task.', MODEL), ('', 'task.')),
    (MODEL, BACKBONE + ['fc.weight'], ('backbone.', '')),
    (prefixed('task.', MODEL), MODEL, ('task.', '')),
    (prefixed('backbone.context_path.', MODEL), MODEL,
     ('backbone.context_path.', '')),
    # the innermost part that is there as a whole
    (prefixed('backbone.', MODEL), MODEL[:-1],
     ('backbone.backbone.', 'backbone.')),
    (MODEL, MODEL, ('', '')),
    (BACKBONE, BACKBONE[:2], ('', '')),
    (BACKBONE, ['a', 'b.c'], None),
    (BACKBONE, [], None)])
def test_best_fit(wanted, given, found):
    assert where_weights_fit(wanted, given) == found
