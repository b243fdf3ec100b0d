"""Backbones of mmpretrain under torchvision's names."""
import re
from typing import Dict

from torch import Tensor

from .renaming import (
    Convert,
    Model,
    depths,
    last_norm_only,
    merged_by_columns,
    pick,
    renamed,
)
from .timm_names import RESNET_NOTE, resnet_depth

CONVNEXTS = {((3, 3, 9, 3), 96): 'convnext_tiny',
             ((3, 3, 27, 3), 96): 'convnext_small',
             ((3, 3, 27, 3), 128): 'convnext_base',
             ((3, 3, 27, 3), 192): 'convnext_large'}
SWINS = {((2, 2, 6, 2), 96): 'swin_t', ((2, 2, 18, 2), 96): 'swin_s',
         ((2, 2, 18, 2), 128): 'swin_b'}
SHUFFLENETS = {((4, 8, 4), 48): 'shufflenet_v2_x0_5',
               ((4, 8, 4), 116): 'shufflenet_v2_x1_0',
               ((4, 8, 4), 176): 'shufflenet_v2_x1_5',
               ((4, 8, 4), 244): 'shufflenet_v2_x2_0'}
# of three ConvModules, the second of which has no ReLU
CONV_BN = {'branch1': (0, 2), 'branch2': (0, 3, 5)}


def resnet(weights: Dict[str, Tensor]) -> Model:
    """Of :func:`convert_to_plain`, by mmseg's names."""
    depth = resnet_depth(weights, 'torchvision')
    if 'conv1.weight' not in weights:
        raise ValueError(
            'torchvision has no ResNet with three convolutions in its stem: '
            f'timm has, resnet{depth}c and resnet{depth}d: --to timm')
    grouped = weights['layer1.0.conv2.weight']
    name = f'resnet{depth}'
    if grouped.size(1) < grouped.size(0):
        name = f'resnext{depth}_{grouped.size(0) // grouped.size(1)}x' \
            f'{grouped.size(1)}d'
    return Model(weights, name, {}, 'fc', RESNET_NOTE)


def mobilenet_v2(weights: Dict[str, Tensor]) -> Model:
    """Of :func:`convert_to_plain`."""
    blocks = depths(weights, r'layer(\d)\.(\d+)\.')

    def name(key: str) -> str:
        found = re.match(r'layer(\d)\.(\d+)\.conv\.(\d)\.(conv|bn)', key)
        if found is None:
            module, part, end = key.split('.')
            index = 0 if module == 'conv1' else 1 + sum(blocks)
            return f'features.{index}.{int(part == "bn")}.{end}'
        layer, block, index = map(int, found.groups()[:3])
        norm = int(found[4] == 'bn')
        last = 1 if layer == 1 else 2
        path = str(last + norm) if index == last else f'{index}.{norm}'
        number = 1 + sum(blocks[:layer - 1]) + block
        return f'features.{number}.conv.{path}{key[found.end():]}'

    return Model(
        {name(key): value for key, value in weights.items()},
        'mobilenet_v2', {}, 'classifier',
        'Strides are not in the weights: for those of a StridedBackbone, '
        "strides={'conv1.conv': 1, 'layer2.0.conv.1.conv': 1}, set "
        'model.features[0][0].stride = model.features[2].conv[1][0].stride = '
        '(1, 1).')


def shufflenet_v2(weights: Dict[str, Tensor]) -> Model:
    """Of :func:`convert_to_plain`."""
    stages = depths(weights, r'layers\.(\d)\.(\d+)\.branch2')
    width = 2 * weights['layers.0.0.branch2.0.conv.weight'].size(0)
    model = pick(SHUFFLENETS, (stages, width), 'torchvision', 'ShuffleNetV2')

    def name(key: str) -> str:
        found = re.match(
            r'layers\.(\d)\.(\d+)\.(branch\d)\.(\d)\.(conv|bn)', key)
        if found is None:
            module, _, rest = key.rpartition('.')
            first = module.startswith('conv1')
            return f'conv{1 if first else 5}.' \
                f'{int(module.endswith("bn"))}.{rest}'
        index = CONV_BN[found[3]][int(found[4])] + (found[5] == 'bn')
        return f'stage{int(found[1]) + 2}.{found[2]}.{found[3]}.{index}' + \
            key[found.end():]

    return Model(
        {name(key): value for key, value in weights.items()}, model, {}, 'fc',
        'Strides are not in the weights: for those of a StridedBackbone, '
        "strides={'conv1.conv': 1, 'maxpool': 1}, set "
        'model.conv1[0].stride = (1, 1) and model.maxpool.stride = 1.')


def convnext(weights: Dict[str, Tensor]) -> Model:
    """Of :func:`convert_to_plain`."""
    stem = weights['downsample_layers.0.0.weight']
    if stem.size(-1) != 4:
        raise ValueError(
            f'its stem takes patches of {stem.size(-1)} pixels, and that of '
            'torchvision\'s ConvNeXts patches of 4; timm\'s can be told: '
            '--to timm')
    name = pick(CONVNEXTS, (depths(weights, r'stages\.(\d)\.(\d+)\.'),
                            stem.size(0)), 'torchvision', 'ConvNeXt')

    def odd(found: re.Match) -> str:
        return f'features.{2 * int(found[1]) + 1}.{found[2]}'

    def even(found: re.Match) -> str:
        return f'features.{2 * int(found[1])}'

    named = {re.sub(r'^stages\.(\d)\.(\d+)', odd, re.sub(
        r'^downsample_layers\.(\d)', even, key)): value
        for key, value in last_norm_only(weights).items()}
    named = renamed(named, [
        ('depthwise_conv', 'block.0'), ('pointwise_conv1', 'block.3'),
        ('pointwise_conv2', 'block.5'), ('gamma', 'layer_scale'),
        (r'(features\.\d+\.\d+)\.norm', r'\1.block.2'),
        (r'^norm3', 'classifier.0')])
    for key, value in named.items():
        if key.endswith('layer_scale'):
            named[key] = value[:, None, None]
        elif re.search(r'block\.[35]\.weight', key):
            named[key] = value.flatten(1)  # 1x1 convolutions are the same
    return Model(
        named, name, {}, 'classifier.2',
        'It is pooled and then normalised, as mmpretrain does by default; of '
        'a student with gap_before_final_norm=False the features are those '
        'of model.classifier[0](model.features(x)).')


def swin(weights: Dict[str, Tensor]) -> Model:
    """Of :func:`convert_to_plain`."""
    name = pick(SWINS, (depths(weights, r'stages\.(\d)\.blocks\.(\d+)\.'),
                        weights['patch_embed.projection.bias'].size(0)),
                'torchvision', 'SwinTransformer')

    def stage(found: re.Match) -> str:
        return f'features.{2 * int(found[1]) + 1}.'

    def merging(found: re.Match) -> str:
        return f'features.{2 * int(found[1]) + 2}'

    kept = merged_by_columns(last_norm_only(weights))
    named = {re.sub(r'^stages\.(\d)\.blocks\.', stage, re.sub(
        r'^stages\.(\d)\.downsample', merging, key)): value
        for key, value in kept.items()}
    named = renamed(named, [
        (r'^patch_embed\.projection', 'features.0.0'),
        (r'^patch_embed\.norm', 'features.0.2'), (r'^norm3', 'norm'),
        (r'\.attn\.w_msa', '.attn'), (r'\.ffn\.layers\.0\.0', '.mlp.0'),
        (r'\.ffn\.layers\.1', '.mlp.3')])
    return Model({key: value.flatten() if key.endswith('position_index')
                  else value for key, value in named.items()}, name, {},
                 'head')


TORCHVISION: Dict[str, Convert] = dict(
    ResNet=resnet, MobileNetV2=mobilenet_v2,
    ShuffleNetV2=shufflenet_v2, ConvNeXt=convnext, SwinTransformer=swin)
