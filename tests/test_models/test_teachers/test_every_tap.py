"""Whatever module of a teacher is tapped, its feature is the whole pass's."""
import copy
import random

import pytest
import torch

from repfusion_mm.models.utils.taps import Taps, drop_weights, modules_behind

SMALL = dict(sample_size=4, block_out_channels=(8, 16), layers_per_block=1,
             norm_num_groups=4, attention_head_dim=4)
DENOISERS = dict(
    attention=dict(down_block_types=('DownBlock2D', 'AttnDownBlock2D'),
                   up_block_types=('AttnUpBlock2D', 'UpBlock2D')),
    skips=dict(block_out_channels=(32, 64),
               down_block_types=('AttnSkipDownBlock2D', 'SkipDownBlock2D'),
               up_block_types=('SkipUpBlock2D', 'AttnSkipUpBlock2D')),
    classes=dict(down_block_types=('ResnetDownsampleBlock2D',
                                   'AttnDownBlock2D'),
                 up_block_types=('AttnUpBlock2D', 'ResnetUpsampleBlock2D'),
                 downsample_type='resnet', upsample_type='resnet',
                 resnet_time_scale_shift='scale_shift',
                 attn_norm_num_groups=4, num_class_embeds=5))


def features_of(network, args):
    """Hidden states of every module that is called, and when it last was."""
    found, handles = {}, []

    def keep(path, output):
        hidden = output[0] if isinstance(output, tuple) else output
        found.pop(path, None)  # the last call counts, also for the order
        found[path] = hidden.clone()

    for path, module in network.named_modules():
        if path:
            handles.append(module.register_forward_hook(
                lambda module, inputs, output, path=path: keep(path, output)))
    with torch.no_grad():
        network(*args)
    for handle in handles:
        handle.remove()
    return found


def denoiser(kind):
    from diffusers import UNet2DModel
    network = UNet2DModel(**{**SMALL, **DENOISERS[kind]}).eval()
    told = torch.tensor([4]) if network.class_embedding else None
    return network, (torch.randn(1, 3, 4, 4), torch.tensor([500]), told, False)


def check(network, args, wanted, choices):
    order = list(wanted)
    for paths in choices:
        taps = Taps(network, paths, *args, hidden_first=True)
        cut = copy.deepcopy(network)
        drop_weights(cut, modules_behind(network, taps, *args))
        found = taps.forward(cut, *args, stop=True)[1]
        assert set(found) == set(paths)
        for path in paths:
            assert torch.equal(found[path], wanted[path]), paths
        # what ends before the tap does is kept, what begins later is not;
        # but of the first weights of all the denoiser reads the type
        last = max(order.index(path) for path in paths)
        for index, path in enumerate(order):
            sizes = [sum(weight is not None for weight
                         in one.get_submodule(path)._parameters.values())
                     for one in (network, cut)]
            if sizes[0] and path != 'conv_in':
                assert bool(sizes[1]) == (index <= last), (paths, path)


@pytest.mark.parametrize('kind, share', [
    ('attention', 6), ('skips', 8), ('classes', 8)])
def test_denoisers(kind, share):
    """Some of the modules, others with each kind."""
    network, args = denoiser(kind)
    wanted = features_of(network, args)
    assert len(wanted) > 60
    chosen = random.Random(kind).sample(list(wanted), len(wanted) // share)
    tuples = [path for path in wanted if path.startswith(
        ('down_blocks', 'up_blocks')) and path.count('.') == 1]
    pairs = [random.Random(i).sample(list(wanted), 2) for i in range(6)]
    check(network, args, wanted,
          [[path] for path in dict.fromkeys(chosen + tuples)] + pairs)


@pytest.mark.slow
@pytest.mark.parametrize('kind', DENOISERS)
def test_every_module_of_denoisers(kind):
    network, args = denoiser(kind)
    wanted = features_of(network, args)
    pairs = [random.Random(i).sample(list(wanted), 2) for i in range(100)]
    check(network, args, wanted, [[path] for path in wanted] + pairs)


@pytest.mark.parametrize('compile', [False, dict(backend='eager')])
@pytest.mark.parametrize('taps', [
    ['down_blocks.1.resnets.0'],
    ['down_blocks.1', 'down_blocks.1.attentions.0.to_out.0'],
    ['time_embedding', 'time_proj'],
    ['up_blocks.0', 'conv_out']])
def test_as_a_teacher(build, pipeline_folder, unet, images, timesteps, taps,
                      compile):
    teacher = build(dict(type='repfusion_mm.UNetTeacher', taps=taps,
                         pretrained=pipeline_folder, compile=compile))
    teacher.init_weights()
    wanted = features_of(copy.deepcopy(unet),
                         (images / 127.5 - 1, timesteps))
    for _ in range(2):
        found = teacher(images, timesteps)
        for tap in taps:
            torch.testing.assert_close(found[tap], wanted[tap])
            assert teacher.feature_shapes[tap] == wanted[tap].shape[1:]


BACKBONES = dict(
    resnet=(16, dict(type='ResNet_CIFAR', depth=18, stem_channels=4,
                     base_channels=4)),
    vit=(16, dict(type='VisionTransformer', img_size=16, patch_size=8,
                  arch=dict(embed_dims=8, num_layers=2, num_heads=2,
                            feedforward_channels=16))),
    swin=(32, dict(type='SwinTransformer', img_size=32, window_size=2,
                   out_indices=(1, ), arch=dict(embed_dims=8, depths=[1, 2],
                                                num_heads=[1, 2]))))


@pytest.mark.parametrize('kind, share', [
    ('resnet', 8), ('vit', 4), ('swin', 8),
    *(pytest.param(kind, 1, marks=pytest.mark.slow) for kind in BACKBONES)])
def test_classifiers(build, kind, share):
    size, backbone = BACKBONES[kind]
    width = dict(resnet=32, vit=8, swin=16)[kind]
    model = dict(
        type='mmpretrain.ImageClassifier', backbone=backbone,
        head=dict(type='VisionTransformerClsHead' if kind == 'vit' else
                  'LinearClsHead', num_classes=3, in_channels=width))
    if kind != 'vit':
        model['neck'] = dict(type='GlobalAveragePooling')
    network = build(model).eval()
    inputs = torch.randn(2, 3, size, size)
    wanted = features_of(network, (inputs, ))
    for path in random.Random(kind).sample(list(wanted),
                                           len(wanted) // share):
        teacher = build(dict(type='repfusion_mm.ClassifierTeacher',
                             model=model, image_size=size, taps=[path]))
        teacher.read = lambda: copy.deepcopy(network)
        teacher.init_weights()
        found, tokens = teacher.features(inputs)[path], wanted[path]
        if tokens.dim() == 3 and found.dim() == 4:  # patches, as a map
            found = found.flatten(2).transpose(1, 2)
            tokens = tokens[:, -found.shape[1]:]
        assert torch.equal(found, tokens), path
        if path.endswith(('attn', 'ffn')):
            assert teacher.feature_shapes[path][1:] in (
                (2, 2), (8, 8), (4, 4)), path
