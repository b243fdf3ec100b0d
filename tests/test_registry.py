import pytest
from mmengine.registry import DATASETS as MMENGINE_DATASETS
from mmengine.registry import HOOKS as MMENGINE_HOOKS
from mmengine.registry import MODELS as MMENGINE_MODELS
from mmengine.registry import (
    OPTIM_WRAPPER_CONSTRUCTORS as MMENGINE_CONSTRUCTORS,
)
from mmengine.registry import OPTIM_WRAPPERS as MMENGINE_OPTIM_WRAPPERS
from mmengine.registry import TRANSFORMS as MMENGINE_TRANSFORMS

from repfusion_mm.registry import (
    DATASETS,
    HOOKS,
    MODELS,
    OPTIM_WRAPPER_CONSTRUCTORS,
    OPTIM_WRAPPERS,
    TRANSFORMS,
)

NAMES = {
    MODELS: ('RepFusion', 'UNetTeacher', 'FixedTime', 'UniformTime',
             'ReinforcedTime', 'LeNetPolicy', 'ConstantPolicy',
             'ClassificationReward', 'HintLoss', 'Connection', 'DPM'),
    HOOKS: ('TimeSamplerHook', 'PretrainedCheckHook', 'DPMExportHook'),
    DATASETS: ('Digits', 'FewLabels'),
    TRANSFORMS: ('LoadCheckedImage', 'LoadCheckedMask'),
    OPTIM_WRAPPERS: ('BFloat16OptimWrapper', ),
    OPTIM_WRAPPER_CONSTRUCTORS: ('TaskOptimWrapperConstructor', ),
}


@pytest.mark.parametrize('registry, parent', [
    (MODELS, MMENGINE_MODELS), (HOOKS, MMENGINE_HOOKS),
    (DATASETS, MMENGINE_DATASETS),
    (TRANSFORMS, MMENGINE_TRANSFORMS),
    (OPTIM_WRAPPERS, MMENGINE_OPTIM_WRAPPERS),
    (OPTIM_WRAPPER_CONSTRUCTORS, MMENGINE_CONSTRUCTORS)])
def test_found_from_mmengine(registry, parent):
    assert registry.parent is parent
    for name in NAMES[registry]:
        found = parent.get(f'repfusion_mm.{name}')
        assert found is not None, name
        assert found.__module__.startswith('repfusion_mm.')
        assert registry.get(name) is found


def test_found_from_another_library():
    from mmpretrain.registry import MODELS as OTHER
    assert OTHER.get('repfusion_mm.RepFusion') is MODELS.get('RepFusion')
    assert MODELS.get('mmpretrain.ResNet') is OTHER.get('ResNet')


def test_no_stock_name_is_taken():
    # nothing of ours is registered in anyone else's registry
    for registry, names in NAMES.items():
        assert not set(names) & set(registry.parent.module_dict)
