"""Backbones of mmpretrain under timm's names."""
import re
from typing import Any, Dict

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

# number of blocks, and whether they are bottlenecks
RESNETS = {((2, 2, 2, 2), False): 18, ((3, 4, 6, 3), False): 34,
           ((3, 4, 6, 3), True): 50, ((3, 4, 23, 3), True): 101,
           ((3, 8, 36, 3), True): 152}
RESNET_NOTE = 'Strides, dilations and `style` are not in the weights: of a ' \
    'ResNet with strides=(1, 2, 2, 2), not dilated and not of caffe, it ' \
    'computes the same; of another, such as the dilated ones of mmseg, not ' \
    'until it is fine-tuned.'
# deep stem, pooled shortcuts
KINDS = {(False, False): '', (True, False): 'c', (True, True): 'd'}
VITS = {(12, 192): 'vit_tiny_patch16_224', (12, 384): 'vit_small_patch16_224',
        (12, 768): 'vit_base_patch16_224', (24, 1024): 'vit_large_patch16_224'}
CONVNEXTS = {((3, 3, 9, 3), 96): 'convnext_tiny',
             ((3, 3, 27, 3), 96): 'convnext_small',
             ((3, 3, 27, 3), 128): 'convnext_base',
             ((3, 3, 27, 3), 192): 'convnext_large'}
SWINS = {((2, 2, 6, 2), 96): 'swin_tiny_patch4_window7_224',
         ((2, 2, 18, 2), 96): 'swin_small_patch4_window7_224',
         ((2, 2, 18, 2), 128): 'swin_base_patch4_window7_224'}


def resnet_depth(weights: Dict[str, Tensor], library: str) -> int:
    """How many layers a ResNet has.

    Args:
        weights (dict[str, Tensor]): State dict.
        library (str): Which is to have it, for the error message.

    Returns:
        int: 18, 34, 50, 101 or 152.
    """
    built = (depths(weights, r'layer(\d)\.(\d+)\.'),
             'layer1.0.conv3.weight' in weights)
    return int(pick({key: str(depth) for key, depth in RESNETS.items()},
                    built, library, 'ResNet'))


def resnet(weights: Dict[str, Tensor]) -> Model:
    """Of :func:`convert_to_plain`, by mmseg's names."""
    depth = resnet_depth(weights, 'timm')
    kind = ('stem.0.weight' in weights,
            getattr(weights.get('layer2.0.downsample.1.weight'), 'ndim',
                    1) == 4)
    name = f'resnet{depth}{KINDS.get(kind, "")}'
    grouped = weights['layer1.0.conv2.weight']
    if grouped.size(1) < grouped.size(0):
        name = f'resnext{depth}_{grouped.size(0) // grouped.size(1)}x' \
            f'{grouped.size(1)}d'
    return Model(renamed(weights, [(r'^stem\.7', 'bn1'),
                                   (r'^stem', 'conv1')]),
                 name, {}, 'fc', RESNET_NOTE)


def mobilenet_v2(weights: Dict[str, Tensor]) -> Model:
    """Of :func:`convert_to_plain`."""
    parts = {1: ('conv_dw', 'bn1', 'conv_pw', 'bn2', '', ''),
             2: ('conv_pw', 'bn1', 'conv_dw', 'bn2', 'conv_pwl', 'bn3')}

    def name(key: str) -> str:
        found = re.match(r'layer(\d)\.(\d+)\.conv\.(\d)\.(conv|bn)', key)
        if found is None:
            return renamed({key: weights[key]}, [
                ('^conv1.conv', 'conv_stem'), ('^conv1.bn', 'bn1'),
                ('^conv2.conv', 'conv_head'), ('^conv2.bn', 'bn2')]
            ).popitem()[0]
        layer, block, index = map(int, found.groups()[:3])
        part = parts[min(layer, 2)][2 * index + (found[4] == 'bn')]
        return f'blocks.{layer - 1}.{block}.{part}{key[found.end():]}'

    return Model(
        {name(key): value for key, value in weights.items()},
        'mobilenetv2_100', {}, 'classifier',
        'Strides are not in the weights: for those of a StridedBackbone, '
        "strides={'conv1.conv': 1, 'layer2.0.conv.1.conv': 1}, set "
        'model.conv_stem.stride = model.blocks[1][0].conv_dw.stride = (1, 1).')


def convnext(weights: Dict[str, Tensor]) -> Model:
    """Of :func:`convert_to_plain`."""
    stem = weights['downsample_layers.0.0.weight']
    name = pick(CONVNEXTS, (depths(weights, r'stages\.(\d)\.(\d+)\.'),
                            stem.size(0)), 'timm', 'ConvNeXt')
    options: Dict[str, Any] = dict(head_norm_first=True)
    if stem.size(-1) != 4:
        options['patch_size'] = stem.size(-1)
    if weights['stages.0.0.pointwise_conv1.weight'].dim() == 4:
        options['conv_mlp'] = True
    return Model(renamed(last_norm_only(weights), [
        (r'^downsample_layers\.0', 'stem'),
        (r'^downsample_layers\.(\d)', r'stages.\1.downsample'),
        (r'^stages\.(\d)\.(\d)', r'stages.\1.blocks.\2'),
        ('depthwise_conv', 'conv_dw'), ('pointwise_conv', 'mlp.fc'),
        (r'^norm3', 'norm_pre')]), name, options, 'head.fc',
        'The map is normalised and then pooled, as in a student with '
        'gap_before_final_norm=False. Of one without it the pooled features '
        'are others, until it is fine-tuned.')


def vit(weights: Dict[str, Tensor]) -> Model:
    """Of :func:`convert_to_plain`."""
    patch = weights['patch_embed.projection.weight']
    layers = 1 + max(int(key.split('.')[1]) for key in weights
                     if key.startswith('layers.'))
    name = pick(VITS, (layers, patch.size(0)), 'timm',
                'VisionTransformer')
    token = 'cls_token' in weights
    patches = weights['pos_embed'].size(1) - token
    side = round(patches**0.5)
    if side**2 != patches:
        raise ValueError(f'there are {patches} patches, which make no square: '
                         'timm\'s name of it is of square images')
    options: Dict[str, Any] = dict(
        img_size=side * patch.size(-1), patch_size=patch.size(-1))
    if not token:
        options.update(class_token=False, global_pool='avg', fc_norm=False)
    return Model(renamed(weights, [
        (r'^patch_embed\.projection', 'patch_embed.proj'), (r'^ln1', 'norm'),
        (r'^layers', 'blocks'), (r'\.ln(\d)', r'.norm\1'),
        (r'\.ffn\.layers\.0\.0', '.mlp.fc1'),
        (r'\.ffn\.layers\.1', '.mlp.fc2')]), name, options, 'head')


def swin(weights: Dict[str, Tensor]) -> Model:
    """Of :func:`convert_to_plain`."""
    name = pick(SWINS, (depths(weights, r'stages\.(\d)\.blocks\.(\d+)\.'),
                        weights['patch_embed.projection.bias'].size(0)),
                'timm', 'SwinTransformer')
    weights = {key: value for key, value in weights.items()
               if not key.endswith('relative_position_index')}

    def later(found: re.Match) -> str:  # timm merges as a stage begins
        return f'layers.{int(found[1]) + 1}.downsample'

    kept = {re.sub(r'^stages\.(\d)\.downsample', later, key): value
            for key, value in
            merged_by_columns(last_norm_only(weights)).items()}
    return Model(renamed(kept, [
        (r'^patch_embed\.projection', 'patch_embed.proj'),
        (r'\.attn\.w_msa', '.attn'),
        (r'^stages', 'layers'), (r'^norm3', 'norm'),
        (r'\.ffn\.layers\.0\.0', '.mlp.fc1'),
        (r'\.ffn\.layers\.1', '.mlp.fc2')]), name, {}, 'head.fc')


TIMM: Dict[str, Convert] = dict(
    ResNet=resnet, MobileNetV2=mobilenet_v2, ConvNeXt=convnext,
    VisionTransformer=vit, SwinTransformer=swin)
