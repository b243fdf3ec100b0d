"""What is installed, and whether it works together.

``python -m repfusion_mm.check`` prints versions and devices, takes one step of
distillation with each OpenMMLab library that is there, on the CPU, and names
the remedy for each trap that it knows.
"""
import contextlib
import importlib
import io
import logging
import platform
import sys
import warnings
from importlib.metadata import PackageNotFoundError, version
from typing import Callable, Dict, List, Optional

import torch

from repfusion_mm.engine.launch import lost_gpu

PACKAGES = ('repfusion_mm', 'torch', 'torchvision', 'numpy', 'diffusers',
            'accelerate', 'safetensors', 'huggingface_hub', 'scikit-learn')
# the maintained continuation, and OpenMMLab's own; the same import name
LIBRARIES = dict(
    mmengine=('onedl-mmengine', 'mmengine'),
    mmcv=('onedl-mmcv', 'mmcv', 'mmcv-lite'),
    mmpretrain=('onedl-mmpretrain', 'mmpretrain'),
    mmseg=('onedl-mmsegmentation', 'mmsegmentation'),
    mmdet=('onedl-mmdetection', 'mmdet'),
    mmpose=('mmpose', ))
# what an error says, and what to do about it
REMEDIES = {
    'torchvision::nms': 'torchvision is not of this torch: install the '
    'version that belongs to it',
    'mmcv._ext': 'mmcv has no compiled operators, which mmdet and mmpose '
    'need: `make test` builds them, see tools/install.sh',
    'mmcv.ops': 'mmcv has no compiled operators, which mmdet and mmpose '
    'need: `make test` builds them, see tools/install.sh',
    'numpy.dtype size changed': 'a package was built for another NumPy '
    '(often xtcocotools): build it here, `pip install --no-binary xtcocotools '
    '--no-build-isolation xtcocotools`',
    'chumpy': 'mmpose asks for chumpy and never imports it: install mmpose '
    'with --no-deps, then json-tricks, munkres and xtcocotools',
    'pkg_resources': 'setuptools 82 and later have no pkg_resources: install '
    'setuptools<82',
    'cached_download': 'huggingface_hub is too new for this diffusers: '
    'install huggingface_hub==0.25.2 beside diffusers 0.30',
    'is used but incompatible': 'mmcv and the library are of different '
    'generations: install both maintained or both official'}
SIDE = 32


def installed(name: str) -> Optional[str]:
    """The version of a distribution, None if it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def remedy(error: BaseException) -> str:
    """What to do about an error, empty if it is none that is known."""
    text = f'{type(error).__name__}: {error}'
    return next((cure for sign, cure in REMEDIES.items() if sign in text), '')


def _joint(task: dict, tap: str) -> dict:
    """Any task's model with the smallest teacher."""
    return dict(
        type='repfusion_mm.JointRepFusion', task=task, teacher=_teacher(),
        time_sampler=dict(type='repfusion_mm.UniformTime'),
        connections=[dict(student_tap=tap, teacher_tap='mid_block')])


def _teacher() -> dict:
    return dict(type='repfusion_mm.UNetTeacher', config=dict(
        sample_size=16, layers_per_block=1, block_out_channels=(32, 64),
        down_block_types=('DownBlock2D', 'DownBlock2D'),
        up_block_types=('UpBlock2D', 'UpBlock2D')))


def mmpretrain_step() -> tuple:
    """A joint classifier, and two labelled samples."""
    from mmpretrain.structures import DataSample
    model = _joint(dict(
        type='mmpretrain.ImageClassifier',
        backbone=dict(type='ResNet_CIFAR', depth=18, stem_channels=8,
                      base_channels=8),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(type='LinearClsHead', num_classes=2, in_channels=64)),
        'backbone.layer4')
    return model, [DataSample().set_gt_label(i) for i in range(2)]


def mmseg_step() -> tuple:
    """A joint segmentor, and two masks."""
    import mmseg.models  # noqa: F401
    from mmengine.structures import PixelData
    from mmseg.structures import SegDataSample
    model = _joint(dict(
        type='mmseg.EncoderDecoder',
        data_preprocessor=dict(type='SegDataPreProcessor', size=(SIDE, SIDE)),
        backbone=dict(type='ResNet', depth=18, stem_channels=8,
                      base_channels=8, norm_cfg=dict(type='BN')),
        decode_head=dict(type='FCNHead', in_channels=64, in_index=3,
                         channels=8, num_convs=1, num_classes=2,
                         norm_cfg=dict(type='BN')),
        train_cfg=dict(), test_cfg=dict(mode='whole')), 'backbone.layer4')
    mask = torch.zeros(1, SIDE, SIDE, dtype=torch.long)
    return model, [SegDataSample(
        metainfo=dict(img_shape=(SIDE, SIDE)),
        gt_sem_seg=PixelData(data=mask.clone())) for _ in range(2)]


def mmpose_step() -> tuple:
    """A joint pose estimator, and two heatmaps of one keypoint."""
    import mmpose.models  # noqa: F401
    from mmengine.structures import InstanceData, PixelData
    from mmpose.structures import PoseDataSample
    model = _joint(dict(
        type='mmpose.TopdownPoseEstimator',
        data_preprocessor=dict(type='PoseDataPreprocessor'),
        backbone=dict(type='ResNet', depth=18, stem_channels=8,
                      base_channels=8),
        head=dict(type='HeatmapHead', in_channels=64, out_channels=1,
                  deconv_out_channels=None,
                  loss=dict(type='KeypointMSELoss', use_target_weight=True),
                  decoder=dict(type='MSRAHeatmap', input_size=(SIDE, SIDE),
                               heatmap_size=(1, 1), sigma=1))),
        'backbone.layer4')
    return model, [PoseDataSample(
        metainfo=dict(img_shape=(SIDE, SIDE)),
        gt_instance_labels=InstanceData(keypoint_weights=torch.ones(1, 1)),
        gt_fields=PixelData(heatmaps=torch.zeros(1, 1, 1))) for _ in range(2)]


def mmdet_step() -> tuple:
    """Stage 1 of a detector's backbone, for which no labels are needed."""
    import mmdet.models  # noqa: F401
    return dict(
        type='repfusion_mm.RepFusion',
        backbone=dict(type='mmdet.ResNet', depth=18, stem_channels=8,
                      base_channels=8),
        teacher=_teacher(),
        time_sampler=dict(type='repfusion_mm.UniformTime'),
        connections=[dict(student_tap='layer4',
                          teacher_tap='mid_block')]), None


STEPS: Dict[str, Callable[[], tuple]] = dict(
    mmpretrain=mmpretrain_step, mmseg=mmseg_step, mmpose=mmpose_step,
    mmdet=mmdet_step)


def take_step(library: str) -> None:
    """One step of training with a library; raises what goes wrong."""
    from mmengine.model import BaseModel
    from mmengine.optim import OptimWrapper
    from mmengine.registry import DefaultScope

    from repfusion_mm.registry import MODELS
    importlib.import_module(library)
    config, samples = STEPS[library]()
    with DefaultScope.overwrite_default_scope(library):
        model: BaseModel = MODELS.build(config)
        model.init_weights()
        images = torch.randint(256, (2, 3, SIDE, SIDE), dtype=torch.uint8)
        data = dict(inputs=list(images))
        if samples is not None:
            data['data_samples'] = samples
        model.train_step(data, OptimWrapper(
            torch.optim.SGD(model.parameters(), lr=1e-3)))


def devices() -> List[str]:
    """The devices that torch sees."""
    lines = [f'CPU, {torch.get_num_threads()} threads']
    for index in range(torch.cuda.device_count()):
        lines.append(f'{torch.cuda.get_device_name(index)}, '
                     f'compute {torch.cuda.get_device_capability(index)}')
    return lines


def traps() -> List[str]:
    """Known traps of what is installed, each with its remedy."""
    found = []
    for name, distributions in LIBRARIES.items():
        both = [one for one in distributions if installed(one)]
        if len(both) > 1:
            found.append(f'{" and ".join(both)} are both installed and both '
                         f'are imported as {name}: uninstall both, then '
                         'install one')
    if torch.__version__ < '2.3' and (installed('numpy') or '') >= '2':
        found.append(f'torch {torch.__version__} was built for NumPy 1: '
                     'install numpy<2')
    if installed('accelerate') is None:
        found.append('accelerate is missing: diffusers reads weights slowly '
                     'and with warnings without it')
    lost = lost_gpu()
    if lost is not None:
        found.append(lost)
    return found


def main() -> int:
    """Print it all; returns the number of libraries that do not work."""
    from rich.console import Console
    from rich.table import Table
    console = Console()
    table = Table('package', 'version', title=f'Python '
                  f'{platform.python_version()}, {platform.platform()}')
    for name in PACKAGES:
        table.add_row(name, installed(name) or '[red]not installed')
    for name, distributions in LIBRARIES.items():
        table.add_row(name, ', '.join(
            f'{one} {installed(one)}' for one in distributions
            if installed(one)) or 'not installed')
    table.add_row('CUDA that torch was built for', str(torch.version.cuda))
    for line in devices():
        table.add_row('device', line)
    console.print(table)
    for trap in traps():
        console.print(f'[yellow]{trap}')

    table = Table('library', 'one step with us', 'remedy')
    wrong = 0
    for library in STEPS:
        if not any(map(installed, LIBRARIES[library])):
            table.add_row(library, 'not installed', '')
            continue
        try:
            with warnings.catch_warnings(), \
                    contextlib.redirect_stdout(io.StringIO()):
                warnings.simplefilter('ignore')
                take_step(library)
        except Exception as error:  # whatever a broken installation raises
            wrong += 1
            text = ' '.join(f'{type(error).__name__}: {error}'.split())
            table.add_row(library, f'[red]{text[:300]}', remedy(error))
        else:
            table.add_row(library, '[green]works', '')
    console.print(table)
    if not any(installed(one) for library in STEPS
               for one in LIBRARIES[library]):
        console.print(
            'No OpenMMLab library is installed. The maintained ones: `pip '
            'install onedl-mmpretrain onedl-mmcv onedl-mmengine` for '
            'classification, `onedl-mmsegmentation` in place of the first for '
            'segmentation; mmpose: requirements/tests*.txt')
    return wrong


if __name__ == '__main__':
    logging.disable(logging.WARNING)
    sys.exit(min(main(), 1))
