"""Students outside OpenMMLab, against the model of the other library."""
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from torch import nn

STUDENTS = Path('configs/_base_/students')
# a student, its size, and which of the libraries has it
CASES = [
    ('resnet18.py', 64, ('timm', 'torchvision')),
    ('resnet50.py', 64, ('timm', 'torchvision')),
    ('mobilenet_v2.py', 32, ('timm', 'torchvision')),
    ('shufflenet_v2.py', 32, ('torchvision', )),
    ('convnext_tiny.py', 64, ('timm', 'torchvision')),
    ('convnext_tiny_32px.py', 32, ('timm', )),
    ('vit_small.py', 224, ('timm', )),
    ('vit_small_32px.py', 32, ('timm', )),
]
MORE = dict(
    swin=(dict(type='SwinTransformer', arch='tiny'), 224,
          ('timm', 'torchvision')),
    resnext=(dict(type='ResNeXt', depth=50, groups=32, width_per_group=4), 64,
             ('timm', 'torchvision')),
    v1c=(dict(type='ResNetV1c', depth=50), 64, ('timm', )),
    v1d=(dict(type='ResNetV1d', depth=50), 64, ('timm', )),
    linear=(dict(type='ConvNeXt', arch='tiny', linear_pw_conv=False,
                 gap_before_final_norm=False), 64, ('timm', 'torchvision')),
    gap=(dict(type='ConvNeXt', arch='tiny'), 64, ('torchvision', )),
    token=(dict(type='VisionTransformer', arch='deit-tiny', img_size=64), 64,
           ('timm', )),
    stages=(dict(type='ConvNeXt', arch='tiny', out_indices=(0, 1, 2, 3),
                 gap_before_final_norm=False), 64, ('timm', 'torchvision')))
SLOW = ('swin', 'convnext_tiny', 'stages', 'linear', 'gap', 'v1c', 'resnext')
ALL = [(Path(name).stem, name, size, library)
       for name, size, libraries in CASES for library in libraries] + [
    (name, backbone, size, library)
    for name, (backbone, size, libraries) in MORE.items()
    for library in libraries]


@pytest.fixture
def publish(tool, root, monkeypatch):
    monkeypatch.chdir(root)
    return tool('model_converters/publish_student').main


def build(cfg):
    """A backbone in float64 whose weights no initialisation gives."""
    import mmpretrain.models  # noqa: F401

    from repfusion_mm.registry import MODELS
    if isinstance(cfg, str):
        cfg = Config.fromfile(STUDENTS / cfg).backbone
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        backbone = MODELS.build(cfg)
    generator = torch.Generator().manual_seed(7)
    for key, value in backbone.state_dict().items():
        if value.is_floating_point():
            value.normal_(0, 1, generator=generator)
            if value.dim() > 1:
                value.mul_(value[0].numel()**-0.5)
            if key.endswith('running_var') or (
                    value.dim() == 1 and key.endswith(('weight', 'gamma'))):
                value.abs_().add_(0.5)
    backbone.eval()
    return backbone.double()


def save(path, backbone, **more):
    """A stage-1 checkpoint around a backbone."""
    state = {f'backbone.{key}': value
             for key, value in backbone.state_dict().items()}
    state['connections.0.projector.weight'] = torch.zeros(3)
    torch.save(dict(state_dict={**state, **more}, meta=dict(cfg='.')), path)
    return str(path)


def said_model(said):
    """What the code that was printed makes, in float64."""
    lines = said.splitlines()
    code = [line for line in lines if line.startswith(('import ', 'model.',
                                                       'model ='))]
    names = {}
    exec('\n'.join(code), names)
    return names['model'].double().eval()


def maps(model, library, name, images):
    """The last map, or the tokens, of the other library's model."""
    if library == 'timm':
        found = model.forward_features(images)
        if name.startswith('swin'):
            return found.permute(0, 3, 1, 2)
        if found.dim() == 3:
            if model.cls_token is not None:
                return found[:, 0]
            side = round(found.size(1)**0.5)
            return found.transpose(1, 2).unflatten(2, (side, side))
        return found
    if name.startswith('res'):
        for part in ('conv1', 'bn1', 'relu', 'maxpool', 'layer1', 'layer2',
                     'layer3', 'layer4'):
            images = getattr(model, part)(images)
        return images
    if name.startswith('shuffle'):
        for part in ('conv1', 'maxpool', 'stage2', 'stage3', 'stage4',
                     'conv5'):
            images = getattr(model, part)(images)
        return images
    found = model.features(images)
    if name.startswith('swin'):
        return model.norm(found).permute(0, 3, 1, 2)
    if name == 'gap':
        return model(images)
    return model.classifier[0](found) if 'mobile' not in name else found


@pytest.mark.parametrize('name, cfg, size, library', [
    pytest.param(*one, id=f'{one[0]}-{one[-1]}',
                 marks=pytest.mark.slow if one[0] in SLOW else ())
    for one in ALL])
def test_same_features(publish, tmp_path, capsys, name, cfg, size, library):
    pytest.importorskip(library)
    backbone = build(cfg)
    out = str(tmp_path / f'b.{"safetensors" if name == "token" else "pth"}')
    publish([save(tmp_path / 'a.pth', backbone), out, '--to', library])
    said = capsys.readouterr().out
    model = said_model(said)  # loads strictly
    if name in ('mobilenet_v2', 'shufflenet_v2'):
        # whose strides are other ones in the student
        strides = said.splitlines()[-1].split('set ')[1].rstrip('.')
        exec('\n'.join(strides.split(' and ')), dict(model=model))
    images = torch.randn(2, 3, size, size, dtype=torch.float64)
    with torch.no_grad():
        wanted = backbone(images)[-1]
        found = maps(model, library, name, images)
        pooled = model(images)
    torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-10)
    assert wanted.std() > 1e-3
    if wanted.dim() == 4 and not ('torchvision' == library and
                                  name in ('convnext_tiny', 'linear',
                                           'stages')):
        torch.testing.assert_close(pooled, wanted.mean((2, 3)), rtol=1e-9,
                                   atol=1e-9)


def test_of_mmseg(publish, tmp_path, capsys):
    """A deep stem by the names of another library."""
    pytest.importorskip('timm')
    mmseg = pytest.importorskip('mmseg.models')
    backbone = mmseg.build_backbone(dict(
        type='mmseg.ResNetV1c', depth=50, norm_cfg=dict(type='BN')))
    backbone.eval()
    out = str(tmp_path / 'b.pth')
    publish([save(tmp_path / 'a.pth', backbone), out, '--to', 'timm'])
    model = said_model(capsys.readouterr().out).float()
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(model.forward_features(images),
                                   backbone(images)[-1])


@pytest.mark.parametrize('cfg, library, message', [
    ('resnet18_cifar.py', 'torchvision', r'ResNet_CIFAR; torchvision has'),
    ('wide_resnet28_10.py', 'timm', r'ResNet_CIFAR; timm has'),
    ('convnext_tiny_64px.py', 'torchvision', 'patches of 2 pixels.*--to timm'),
    ('vit_small.py', 'torchvision', 'no VisionTransformer.*--to onnx'),
    ('shufflenet_v2.py', 'timm', 'no ShuffleNetV2 like ours'),
    (dict(type='ResNetV1d', depth=50), 'torchvision', 'resnet50d: --to timm'),
    (dict(type='ResNet', depth=18, base_channels=8, stem_channels=8), 'timm',
     "nearest to timm's resnet18, but not the same"),
    (dict(type='ConvNeXt', arch='atto'), 'timm', 'timm has no ConvNeXt that'),
    (dict(type='SEResNet', depth=50, base_channels=8, stem_channels=8,
          se_ratio=2), 'timm', 'ConvNeXt.*none of them')])
def test_refused(publish, tmp_path, cfg, library, message):
    pytest.importorskip(library)
    path, out = save(tmp_path / 'a.pth', build(cfg)), tmp_path / 'b.pth'
    with pytest.raises(SystemExit, match=message):
        publish([path, str(out), '--to', library])
    assert not out.exists()


@pytest.mark.parametrize('library', ['timm', 'torchvision'])
def test_small_stem_as_the_message_says(publish, tmp_path, library):
    pytest.importorskip(library)
    backbone = build('resnet18_cifar.py')
    path, out = save(tmp_path / 'a.pth', backbone), str(tmp_path / 'b.pth')
    with pytest.raises(SystemExit) as error:
        publish([path, out, '--to', library])
    said = str(error.value)
    publish([path, out])  # without --to
    import timm
    import torchvision
    model = dict(timm=lambda: timm.create_model('resnet18', num_classes=0),
                 torchvision=torchvision.models.resnet18)[library]()
    line = said.split('once ')[1].split(' (a Wide')[0]
    exec('\n'.join(line.split(' and ')), dict(torch=torch, model=model))
    if library == 'torchvision':
        model.fc = nn.Identity()
    weights = torch.load(out)['state_dict']
    model.load_state_dict({key[len('backbone.'):]: value
                           for key, value in weights.items()}, strict=True)
    images = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(
            model.double().eval()(images), backbone(images)[-1].mean((2, 3)),
            rtol=1e-10, atol=1e-10)


def test_head_is_left_out(publish, tmp_path):
    path = save(tmp_path / 'a.pth', build('resnet18.py'),
                **{'head.fc.weight': torch.zeros(3)})
    out = str(tmp_path / 'b.pth')
    state = torch.load(path)
    del state['state_dict']['connections.0.projector.weight']
    torch.save(state, path)
    with pytest.raises(SystemExit, match=r"also \['head'\]: add --backbone"):
        publish([path, out, '--to', 'torchvision'])
    publish([path, out, '--to', 'torchvision', '--backbone-only'])
    assert 'conv1.weight' in torch.load(out)


@pytest.mark.parametrize('library, package', [
    ('timm', 'timm'), ('onnx', 'onnx onnxruntime')])
def test_library_is_missing(publish, tmp_path, monkeypatch, library, package):
    monkeypatch.setitem(sys.modules, library, None)
    import importlib.util
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, 'find_spec',
        lambda name, *rest: None if name == library else found(name, *rest))
    path = save(tmp_path / 'a.pth', build('resnet18.py').float())
    more = ['--config', 'configs/distill/repfusion_resnet18_celebahq.py'] \
        if library == 'onnx' else []
    out = str(tmp_path / f'b.{"onnx" if more else "pth"}')
    with pytest.raises(SystemExit, match=f'pip install {package}'):
        publish([path, out, '--to', library, *more])


@pytest.mark.parametrize('config, size', [
    ('configs/demo/repfusion_resnet18_uniform_digits.py', 16),
    ('configs/distill/repfusion_vit-small-p4_1xb128-200e_cifar10.py', 32),
    ('configs/distill/repfusion_convnext-tiny_1xb128-200e_cifar10.py', 32),
    ('configs/distill/repfusion_shufflenet-v2_1xb128-200e_cifar10.py', 32)])
def test_onnx(publish, tmp_path, capsys, config, size):
    pytest.importorskip('onnx')
    onnxruntime = pytest.importorskip('onnxruntime')
    backbone = build(Config.fromfile(config).model.backbone).float()
    path, out = save(tmp_path / 'a.pth', backbone), str(tmp_path / 'b.onnx')
    publish([path, out, '--to', 'onnx', '--config', config, '--image-size',
             str(size)])
    said = capsys.readouterr().out
    assert 'By onnxruntime it differs' in said
    session = onnxruntime.InferenceSession(
        out, providers=['CPUExecutionProvider'])
    images = torch.randn(5, 3, size, size)
    found, = session.run(['feature0'], {'images': images.numpy()})
    with torch.no_grad():
        wanted = backbone(images)[0].numpy()
    assert np.abs(found - wanted).max() < 1e-3 * np.abs(wanted).max()
    assert f'feature0  (batch, {", ".join(map(str, wanted.shape[1:]))})' \
        in said


def test_onnx_notices_a_difference(tmp_path):
    pytest.importorskip('onnxruntime')
    pytest.importorskip('onnx')
    from repfusion_mm.converters.onnx_export import check_onnx, export_onnx
    backbone = nn.Conv2d(3, 4, 3)
    path = str(tmp_path / 'a.onnx')
    assert export_onnx(backbone, (8, 8), path) == {'feature0': (4, 6, 6)}
    assert check_onnx(backbone, (8, 8), path) < 1e-5
    with torch.no_grad():
        backbone.weight.mul_(1.1)
    with pytest.raises(ValueError, match='does not compute'):
        check_onnx(backbone, (8, 8), path)


def test_arguments(publish, capsys):
    for arguments in (['a', 'b.onnx', '--to', 'onnx'],
                      ['a', 'b.pth', '--to', 'timm', '--single-scale'],
                      ['a', 'b.pth', '--to', 'onnx', '--config', 'c']):
        with pytest.raises(SystemExit) as error:
            publish(arguments)
        assert error.value.code == 2
