import copy
import importlib
import os
import pickletools
import subprocess
import sys
import zipfile

import pytest
import torch

CONFIG = 'configs/demo/repfusion_resnet18_reinforced_digits.py'
STAGES = [('BOTTLENECK', [2], [16]), ('BASIC', [1, 1], [4, 8]),
          ('BASIC', [1, 1, 1], [4, 8, 16]), ('BASIC', [1] * 4, [4, 8, 16, 32])]
W18 = [('BOTTLENECK', [4], [64]), ('BASIC', [4] * 2, [18, 36]),
       ('BASIC', [4] * 3, [18, 36, 72]), ('BASIC', [4] * 4, [18, 36, 72, 144])]
LIBRARIES = ('mmpretrain', 'mmseg', 'mmpose', 'mmdet')


@pytest.fixture(scope='module', autouse=True)
def libraries():
    """Imports them, which takes seconds, before any test."""
    for library in LIBRARIES:
        importlib.import_module(f'{library}.models')


@pytest.fixture
def publish(tool):
    return tool('model_converters/publish_student').main


def build(library, **cfg):
    """A model of a library, for inference."""
    models = importlib.import_module(f'{library}.registry').MODELS
    model = models.build(dict(cfg, type=f'{library}.{cfg["type"]}'))
    model.eval()  # which may return None
    return model


def hrnet(library, stages=STAGES, modules=(1, 1, 2, 2), multiscale=True):
    extra = {
        f'stage{index + 1}': dict(
            num_modules=count, num_branches=len(blocks), block=block,
            num_blocks=blocks, num_channels=channels)
        for index, (count, (block, blocks, channels))
        in enumerate(zip(modules, stages))}
    if library == 'mmpose':
        extra['stage4']['multiscale_output'] = multiscale
        return dict(type='HRNet', extra=extra)
    return dict(type='HRNet', extra=extra, multiscale_output=multiscale)


def swin(library):
    arch = dict(embed_dims=24, depths=[1] * 4, num_heads=[1, 2, 4, 8])
    if library == 'mmpretrain':  # the others always pad
        arch = dict(arch=arch, pad_small_map=True)
    return dict(type='SwinTransformer', out_indices=(0, 1, 2, 3), **arch)


def resnet(library, depth=50, **more):
    return dict(type='ResNet', depth=depth, out_indices=(0, 1, 2, 3),
                **{**dict(base_channels=8, stem_channels=8), **more})


def resnext(library):
    width = dict(base_width=4, base_channels=64) if library in (
        'mmseg', 'mmdet') else dict(width_per_group=4)
    return dict(type='ResNeXt', depth=50, groups=32,
                out_indices=(0, 1, 2, 3), **width)


BACKBONES = dict(
    resnet18=lambda library: resnet(library, depth=18),
    resnet50=resnet,
    deep_stem=lambda library: resnet(library, deep_stem=True),
    v1d=lambda library: resnet(library, deep_stem=True, avg_down=True),
    hrnet=hrnet,
    mobilenet_v2=lambda library: dict(
        type='MobileNetV2', widen_factor=0.25, out_indices=(1, 2, 4, 6)),
    swin=swin)
SAID = dict(
    resnet18="type='ResNet'", resnet50="type='ResNet'",
    deep_stem="type='ResNet', deep_stem=True",
    v1d="type='ResNet', deep_stem=True, avg_down=True", hrnet='=True',
    mobilenet_v2='MobileNetV2', swin='out_indices=(0, 1, 2, 3)')


def randomise(module):
    """Weights and statistics that no initialisation gives."""
    generator = torch.Generator().manual_seed(7)
    for key, value in module.state_dict().items():
        if key.endswith('running_var'):
            value.uniform_(0.5, 1.5, generator=generator)
        elif value.is_floating_point() and value.dim() < 2:
            value.uniform_(0.5, 1.5, generator=generator)
    return module


def save(path, backbone):
    """A stage-1 checkpoint around a backbone; its path."""
    state = {f'backbone.{key}': value
             for key, value in backbone.state_dict().items()}
    state['connections.0.projector.weight'] = torch.zeros(3)
    state['time_sampler.policy.fc.weight'] = torch.zeros(3)
    torch.save(dict(state_dict=state, meta=dict(cfg='...')), path)
    return str(path)


def load(path, prefix='backbone.'):
    """The published weights, with their prefix taken off."""
    state = torch.load(path, weights_only=True)['state_dict']
    assert all(key.startswith(prefix) for key in state)
    return {key[len(prefix):]: value for key, value in state.items()}


def names_in_pickle(path):
    """What the file's pickle names, module and name."""
    with zipfile.ZipFile(path) as archive:
        name = next(n for n in archive.namelist() if n.endswith('/data.pkl'))
        named = set()
        for code, argument, _ in pickletools.genops(archive.read(name)):
            assert code.name != 'STACK_GLOBAL'
            if code.name == 'GLOBAL':
                named.add(argument)
    return named


def versions(state, parts):
    """The versions of the modules of some parts."""
    return {path: version for path, version in state._metadata.items()
            if path.split('.')[0] in parts}


def bilinear(hrnet):
    """mmseg's HRNet scales up so between branches, the others by nearest."""
    for module in hrnet.modules():
        if isinstance(module, torch.nn.Upsample):
            module.mode, module.align_corners = 'bilinear', False
    return hrnet


def same_features(source, target):
    inputs = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        wanted, got = source(inputs), target(inputs)
    assert len(wanted) == len(got)
    for one, other in zip(got, wanted):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


# every pair of libraries: a stage 1 in one, its student used in another
@pytest.mark.parametrize('target', LIBRARIES)
@pytest.mark.parametrize('source', LIBRARIES)
@pytest.mark.parametrize('name', BACKBONES)
def test_same_features(publish, tmp_path, capsys, name, source, target):
    trained = randomise(build(source, **BACKBONES[name](source)))
    path, out = save(tmp_path / 'a.pth', trained), str(tmp_path / 'b.pth')
    arguments = [path, out, '--to', target]
    if name == 'mobilenet_v2' and source == 'mmseg' != target:
        with pytest.raises(SystemExit, match=r'no conv2\.conv\.weight'):
            publish(arguments)
        return
    publish(arguments)
    assert SAID[name] in capsys.readouterr().out
    used = build(target, **BACKBONES[name](target))
    used.load_state_dict(load(out), strict=True)
    if name == 'hrnet' and 'mmseg' in (source, target):
        bilinear(trained), bilinear(used)
    same_features(trained, used)


@pytest.mark.parametrize('target', LIBRARIES)
@pytest.mark.parametrize('cfg', [
    lambda library: resnet(library, base_channels=64, stem_channels=64),
    lambda library: hrnet(library, W18, (1, 1, 4, 3))], ids=['r50', 'w18'])
def test_full_size(publish, tmp_path, cfg, target):
    trained = build('mmpretrain', **cfg('mmpretrain'))
    path, out = save(tmp_path / 'a.pth', trained), str(tmp_path / 'b.pth')
    publish([path, out, '--to', target])
    used = build(target, **cfg(target))
    used.load_state_dict(load(out), strict=True)
    same_features(bilinear(trained), bilinear(used))


def test_upsampling_of_hrnet(publish, tmp_path, capsys):
    """As mmseg's own, without a patch, is mmpose's with what is printed."""
    trained = randomise(build('mmseg', **hrnet('mmseg')))
    path, out = save(tmp_path / 'a.pth', trained), str(tmp_path / 'b.pth')
    publish([path, out, '--to', 'mmpose'])
    upsample = "upsample=dict(mode='bilinear', align_corners=False)"
    assert upsample in ' '.join(capsys.readouterr().out.split())
    cfg = hrnet('mmpose')
    cfg['extra'].update(eval(f'dict({upsample})'))
    used = build('mmpose', **cfg)
    used.load_state_dict(load(out), strict=True)
    same_features(trained, used)
    publish([path, out, '--to', 'mmseg', '--force'])
    assert 'mmseg scales up bilinearly' in capsys.readouterr().out


@pytest.mark.parametrize('target', LIBRARIES)
def test_resnext(publish, tmp_path, capsys, target):
    trained = build('mmpretrain', **resnext('mmpretrain'))
    out = str(tmp_path / 'b.pth')
    publish([save(tmp_path / 'a.pth', trained), out, '--to', target])
    assert "type='ResNeXt'" in capsys.readouterr().out
    used = build(target, **resnext(target))
    used.load_state_dict(load(out), strict=True)
    same_features(trained, used)


def test_shufflenet(publish, tmp_path):
    cfg = dict(type='ShuffleNetV2', out_indices=(0, 1, 2))
    trained = build('mmpretrain', **cfg)
    path, out = save(tmp_path / 'a.pth', trained), str(tmp_path / 'b.pth')
    publish([path, out, '--to', 'mmpose'])
    used = build('mmpose', **cfg)
    used.load_state_dict(load(out), strict=True)
    same_features(trained, used)
    with pytest.raises(SystemExit, match='mmseg has no ShuffleNetV2'):
        publish([path, out, '--force', '--to', 'mmseg'])


def test_single_scale(publish, tmp_path, capsys):
    """What mmpose builds by default: the finest of the outputs."""
    trained = randomise(build('mmpretrain', **hrnet('mmpretrain')))
    path, out = save(tmp_path / 'a.pth', trained), str(tmp_path / 'b.pth')
    publish([path, out, '--to', 'mmpose', '--single-scale'])
    said = capsys.readouterr().out
    cfg = hrnet('mmpose')
    del cfg['extra']['stage4']['multiscale_output']
    used = build('mmpose', **cfg)
    used.load_state_dict(load(out), strict=True)
    image = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(used(image)[0], trained(image)[0])
    lost = len(trained.state_dict()) - len(used.state_dict())
    assert lost > 0 and f'dropped {lost:5}  backbone.*' in said
    assert 'multiscale_output=False' in said
    with pytest.raises(SystemExit):
        publish([path, str(tmp_path / 'c.pth'), '--single-scale'])
    path = save(tmp_path / 'd.pth', build('mmpretrain', **resnet('')))
    with pytest.raises(SystemExit, match='for an HRNet, this is a ResNet'):
        publish([path, out, '--force', '--to', 'mmpose', '--single-scale'])


@pytest.mark.parametrize('cfg, message', [
    (dict(type='ResNet_CIFAR', depth=18, base_channels=4, stem_channels=4),
     r'conv1\.weight is \(4, 3, 3, 3\).*ResNet_CIFAR.*Leave out --to'),
    (dict(type='ConvNeXt', arch='atto'),
     r"none of them: \d+ of \d+ keys.*for example \['.*Leave out --to"),
    (dict(type='SEResNet', depth=50, base_channels=8, stem_channels=8,
          se_ratio=2), r'not of a ResNet, .*se_layer')])
def test_cannot_be_converted(publish, tmp_path, cfg, message):
    path = save(tmp_path / 'a.pth', build('mmpretrain', **cfg))
    out = tmp_path / 'b.pth'
    with pytest.raises(SystemExit, match=f'converted to mmseg: .*{message}'):
        publish([path, str(out), '--to', 'mmseg'])
    assert not out.exists()
    publish([path, str(out)])
    build('mmpretrain', **cfg).load_state_dict(load(out), strict=True)


@pytest.fixture
def stage_one(load_config):
    """A real stage 1 of 2 iterations with averaged weights: its runner."""
    from mmengine.runner import Runner

    def run():
        cfg = load_config(CONFIG, custom_hooks=[
            dict(type='EMAHook', momentum=0.3)])
        runner = Runner.from_cfg(cfg)
        runner.train()
        return runner

    return run


def test_stage_one(publish, stage_one, tmp_path, capsys):
    from mmengine.hooks import EMAHook
    runner = stage_one()
    out = str(tmp_path / 'new' / 'student.pth')  # makes the folder
    publish([str(tmp_path / 'iter_2.pth'), out])
    got = load(out)
    averaged = next(hook for hook in runner.hooks
                    if isinstance(hook, EMAHook)).ema_model.module.backbone
    trained = runner.model.backbone.state_dict()
    assert got.keys() == trained.keys()
    for key, value in averaged.state_dict().items():
        assert torch.equal(got[key], value), key
    assert not torch.equal(got['conv1.weight'], trained['conv1.weight'])

    assert names_in_pickle(out) <= {
        'collections OrderedDict', 'torch._utils _rebuild_tensor_v2',
        'torch FloatStorage', 'torch LongStorage'}
    checkpoint = torch.load(out, weights_only=True)
    assert checkpoint.keys() == {'meta', 'state_dict'}
    assert checkpoint['meta'].keys() >= {'mmengine_version',
                                         'repfusion_mm_version'}
    said = capsys.readouterr().out
    assert f'kept    {len(trained):5}  backbone.*' in said
    assert 'time_sampler.*' in said and 'optimizer' in said
    assert f"checkpoint='{out}', prefix='backbone.'" in said
    assert os.path.getsize(out) < 1.2 * sum(
        value.nbytes for value in got.values()) + 1e5


def test_whole_of_a_classifier(publish, tmp_path, load_config):
    """Stage 2: all weights pass, the optimiser does not."""
    from mmengine.runner import Runner
    runner = Runner.from_cfg(load_config(
        'configs/demo/resnet18_scratch_digits.py'))
    runner.train()
    path, out = str(tmp_path / 'iter_2.pth'), str(tmp_path / 'out.pth')
    publish([path, out])
    got = torch.load(out, weights_only=True)
    wanted = runner.model.state_dict()
    assert got['state_dict'].keys() == wanted.keys()
    for key, value in wanted.items():
        assert torch.equal(got['state_dict'][key], value)
    assert got['state_dict']._metadata == versions(
        wanted, ('', 'backbone', 'head'))
    assert got['meta']['dataset_meta'] == \
        runner.train_dataloader.dataset.metainfo
    publish([path, out, '--backbone-only', '--force'])
    runner.model.backbone.load_state_dict(load(out), strict=True)
    with pytest.raises(SystemExit, match=r"\['head'\]: add --backbone-only"):
        publish([path, str(tmp_path / 'no.pth'), '--to', 'mmseg'])


SEGMENTOR = dict(
    type='EncoderDecoder',
    backbone=dict(type='ResNet', depth=18, base_channels=4, stem_channels=4,
                  norm_cfg=dict(type='BN')),
    decode_head=dict(type='FCNHead', in_channels=32, in_index=3, channels=8,
                     num_convs=1, num_classes=5, norm_cfg=dict(type='BN')),
    train_cfg=dict(), test_cfg=dict(mode='whole'))
ESTIMATOR = dict(
    type='TopdownPoseEstimator',
    backbone=dict(type='ResNet', depth=18, base_channels=4, stem_channels=4,
                  out_indices=(0, 1, 2, 3)),
    head=dict(type='HeatmapHead', in_channels=32, out_channels=5,
              deconv_out_channels=(8, ), deconv_kernel_sizes=(4, ),
              decoder=dict(type='MSRAHeatmap', input_size=(32, 32),
                           heatmap_size=(2, 2), sigma=1)))
PREPROCESSORS = dict(mmseg='SegDataPreProcessor',
                     mmpose='PoseDataPreprocessor')


@pytest.mark.parametrize('library, task', [
    ('mmseg', SEGMENTOR), ('mmpose', ESTIMATOR)])
def test_joint(publish, pipeline_folder, tmp_path, capsys, library, task):
    from repfusion_mm.registry import MODELS
    preprocessor = dict(type=PREPROCESSORS[library], mean=[127.5] * 3,
                        std=[127.5] * 3, bgr_to_rgb=True)
    joint = MODELS.build(dict(
        type='repfusion_mm.JointRepFusion',
        task=dict(copy.deepcopy(task), type=f'{library}.{task["type"]}',
                  data_preprocessor=preprocessor),
        teacher=dict(type='repfusion_mm.UNetTeacher',
                     pretrained=pipeline_folder),
        time_sampler=dict(type='repfusion_mm.UniformTime'),
        connections=[dict(student_tap='backbone.layer4',
                          teacher_tap='mid_block.resnets.1',
                          loss=dict(type='repfusion_mm.HintLoss'))]))
    randomise(joint).task.eval()
    path, out = str(tmp_path / 'iter_1.pth'), str(tmp_path / 'out.pth')
    torch.save(dict(state_dict=joint.state_dict(), optimizer={}), path)
    publish([path, out])
    stock = build(library, **copy.deepcopy(task))
    published = torch.load(out, weights_only=True)['state_dict']
    stock.load_state_dict(published, strict=True)
    assert published._metadata == versions(
        stock.state_dict(), ('', 'backbone', 'decode_head', 'head'))
    image = torch.randn(1, 3, 32, 32)
    assert torch.equal(stock(image, None, mode='tensor'),
                       joint.task(image, None, mode='tensor'))
    assert f"load_from = '{out}'" in capsys.readouterr().out

    publish([path, out, '--backbone-only', '--force', '--to', 'mmpretrain'])
    backbone = build('mmpretrain', **resnet(
        '', depth=18, base_channels=4, stem_channels=4))
    backbone.load_state_dict(load(out), strict=True)
    same_features(joint.task.backbone, backbone)


BLOCKED = '''
import sys
class Blocker:
    def find_spec(self, name, *args):
        if name.split('.')[0] == 'repfusion_mm':
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Blocker())
import importlib, torch
library, path = sys.argv[1:]
importlib.import_module(library + '.models')
registry = importlib.import_module(library + '.registry').MODELS
model = registry.build(dict(
    type=library + '.ResNet', depth=18, init_cfg=dict(
        type='Pretrained', checkpoint=path, prefix='backbone.')))
model.init_weights()
wanted = torch.load(path, weights_only=True)['state_dict']
got = {'backbone.' + k: v for k, v in model.state_dict().items()}
assert wanted.keys() == got.keys()
assert all(torch.equal(wanted[k], got[k]) for k in got)
assert not any(name.startswith('repfusion_mm') for name in sys.modules)
print('arrived')
'''


@pytest.mark.slow
@pytest.mark.parametrize('library', LIBRARIES)
def test_without_us(publish, tmp_path, library):
    trained = randomise(build('mmpretrain', type='ResNet', depth=18))
    out = str(tmp_path / 'out.pth')
    publish([save(tmp_path / 'a.pth', trained), out, '--to', library])
    done = subprocess.run(
        [sys.executable, '-c', BLOCKED, library, out], cwd=tmp_path,
        text=True, capture_output=True, timeout=600)
    assert done.stdout.endswith('arrived\n'), done.stderr[-3000:]


class Evil:
    """Makes a folder when it is unpickled as usual."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path, )


@pytest.mark.parametrize('new', [True, False])
def test_runs_nothing_of_the_file(publish, tmp_path, new):
    import numpy as np
    evil, path = str(tmp_path / 'evil'), str(tmp_path / 'a.pth')
    weight = torch.nn.Parameter(torch.randn(4)[1:3])
    torch.save(
        dict(state_dict={'backbone.w': weight}, history=[Evil(evil)],
             meta=dict(dataset_meta=dict(sigmas=np.ones(2)),
                       mmengine_version='1')), path,
        _use_new_zipfile_serialization=new)
    publish([path, str(tmp_path / 'b.pth')])
    assert not os.path.exists(evil)
    published = torch.load(tmp_path / 'b.pth', weights_only=True)
    assert 'dataset_meta' not in published['meta']  # not plain
    kept = published['state_dict']['backbone.w']
    assert torch.equal(kept, weight) and not kept.requires_grad
    assert kept.untyped_storage().nbytes() == 8  # and not all four
    torch.load(path, weights_only=False)
    assert os.path.exists(evil)  # the file was dangerous indeed


@pytest.mark.parametrize('content, message', [
    (None, 'does not exist'),
    (b'<html>', 'cannot be read as a checkpoint: UnpicklingError'),
    (b'', 'cannot be read as a checkpoint: EOFError'),
    ([1], 'it holds a list'),
    (dict(state_dict=Evil('x')), 'no dict of weights'),
    ({'denoiser.conv_in.weight': torch.ones(1), 'conv1.weight':
      torch.ones(1)}, "found {'denoiser': 1, 'conv1': 1}"),
    ({'backbone.w': 'text'}, r"no tensors, for example \['backbone.w'\]")])
def test_unreadable(publish, tmp_path, content, message):
    path, out = tmp_path / 'a.pth', tmp_path / 'b.pth'
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(SystemExit, match=message) as error:
        publish([str(path), str(out)])
    assert isinstance(error.value.code, str)  # is printed, with status 1
    assert not out.exists()


def test_overwrites_only_by_force(publish, tmp_path):
    path, out = tmp_path / 'a.pth', tmp_path / 'b.pth'
    torch.save({'backbone.w': torch.ones(1)}, path)
    out.write_text('precious')
    with pytest.raises(SystemExit, match='exists; --force'):
        publish([str(path), str(out)])
    assert out.read_text() == 'precious'
    publish([str(path), str(out), '--force'])
    assert load(out)['w'] == 1


def test_help(publish, capsys):
    with pytest.raises(SystemExit):
        publish(['--help'])
    said = capsys.readouterr().out
    for family in ('ResNet', 'HRNet', 'MobileNetV2', 'SwinTransformer',
                   'ShuffleNetV2'):
        assert f'  {family}' in said
