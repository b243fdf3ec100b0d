"""One backbone under the names of mmpretrain, mmseg, mmpose and mmdet."""
import re
from typing import Dict, Tuple

from torch import Tensor

LIBRARIES = ('mmpretrain', 'mmseg', 'mmpose', 'mmdet')
FLAT_STEM = ('mmseg', 'mmdet')  # and pooled shortcuts are always pooled

END = r'(weight|bias|running_mean|running_var|num_batches_tracked)'
_BLOCK = r'((conv|bn)[123]|downsample\.[012])'
# what the parameters of a family are called, in any of the libraries
NAMES = {
    'ResNet':
    rf'((conv|bn)1|stem\.\d(\.conv|\.bn)?|layer\d\.\d+\.{_BLOCK})\.{END}',
    'HRNet':
    rf'((conv|bn)[12]|layer1\.\d+\.{_BLOCK}|transition\d[.\d]+|stage\d\.\d+\.'
    rf'(branches\.\d\.\d+\.{_BLOCK}|fuse_layers[.\d]+))\.{END}',
    'MobileNetV2':
    rf'(conv[12]|layer\d\.\d+\.(conv\.\d|(expand|depthwise|linear)_conv))\.'
    rf'(conv|bn)\.{END}',
    'ShuffleNetV2':
    rf'(conv1|layers\.\d(\.\d+\.branch[12]\.\d)?)\.(conv|bn)\.{END}',
    'CSPNeXt':
    r'(stem\.\d|stage\d\.\d(\.(conv[12]|(main|short|final)_conv|blocks\.\d+'
    rf'\.(conv1|conv2\.(depth|point)wise_conv)))?)\.(conv|bn)\.{END}|'
    rf'stage\d\.\d\.attention\.fc\.{END}',
    'SwinTransformer':
    r'stages\.\d\.blocks\.\d+\.attn\.w_msa\.relative_position_(index|'
    rf'bias_table)|(norm\d|patch_embed\.(projection|norm)|stages\.\d\.('
    r'downsample\.(norm|reduction)|blocks\.\d+\.(norm[12]|ffn\.layers\.[01]'
    rf'(\.0)?|attn\.w_msa\.(qkv|proj))))\.{END}',
}
LACKING = (('ShuffleNetV2', 'mmseg'), ('ShuffleNetV2', 'mmdet'),
           ('CSPNeXt', 'mmpretrain'), ('CSPNeXt', 'mmseg'))
# the convolutions of a MobileNetV2's block in mmdet; the first layer's have no
# expansion
_BLOCK_PARTS = ('expand_conv', 'depthwise_conv', 'linear_conv')
# a deep stem: three ConvModules, or one flat Sequential with its ReLUs
_STEM = {f'stem.{index}.{part}': f'stem.{3 * index + offset}'
         for index in range(3) for offset, part in enumerate(('conv', 'bn'))}


def convert_backbone(
        weights: Dict[str, Tensor], library: str,
        single_scale: bool = False) -> Tuple[Dict[str, str], str]:
    """What the parameters of a backbone are called in another library.

    ResNet (also ResNetV1c, ResNetV1d, ResNeXt), HRNet, MobileNetV2 and
    SwinTransformer of mmpretrain, mmseg, mmpose and mmdet, ShuffleNetV2 of
    mmpretrain and mmpose, and CSPNeXt of mmpose and mmdet. They compute the
    same there, except that mmseg's HRNet scales up bilinearly between its
    branches.

    Args:
        weights (dict[str, Tensor]): State dict of the backbone, from any of
            the libraries, without a prefix.
        library (str): One of :data:`LIBRARIES`.
        single_scale (bool): Leave out what an HRNet without
            ``multiscale_output`` has not. Defaults to False.

    Returns:
        tuple[dict[str, str], str]: The new name of each parameter that stays,
        and what the config must say for the backbone, for example
        ``"type='ResNet', deep_stem=True"``.

    Raises:
        ValueError: If the library has no such backbone. The keys are named.
    """
    family = family_of(weights, NAMES, _scope('each library'))
    if single_scale and family != 'HRNet':
        raise ValueError(f'--single-scale is for an HRNet, this is a {family}')
    if family == 'ResNet':
        return _resnet(weights, library)
    if family == 'HRNet':
        return _hrnet(weights, library, single_scale)
    if family == 'MobileNetV2':
        return _mobilenet_v2(weights, library)
    if (family, library) in LACKING:
        raise ValueError(f'{library} has no {family}' + _scope(library))
    config = f"type='{family}'"
    if family == 'SwinTransformer':  # a norm for each output, whatever it is
        outputs = sorted(int(key[4]) for key in weights
                         if re.fullmatch(r'norm\d\.weight', key))
        config += f', out_indices={tuple(outputs)}'
    return {key: key for key in weights}, config


def _scope(library: str) -> str:
    """What to do instead of converting."""
    return f'. Leave out --to: {library} itself can build another ' \
        'library\'s backbone by its scope, as in type=\'mmpretrain.ConvNeXt\''


def family_of(weights: Dict[str, Tensor], names: Dict[str, str],
              advice: str = '') -> str:
    """Which family of backbones some weights are of.

    Args:
        weights (dict[str, Tensor]): State dict of a backbone.
        names (dict[str, str]): By family, an expression that its keys match.
        advice (str): What to do where it is of none. Defaults to ``''``.

    Returns:
        str: The family.

    Raises:
        ValueError: If it is of none. Some keys are named.
    """
    foreign = {family: [key for key in weights
                        if not re.fullmatch(pattern, key)]
               for family, pattern in names.items()}
    family = min(foreign, key=lambda family: len(foreign[family]))
    keys = foreign[family]
    if keys:
        raise ValueError(
            f'--to converts {", ".join(names)}, and this is none of them: '
            f'{len(keys)} of {len(weights)} keys are not of a {family}, which '
            f'is nearest, for example {keys[:3]}{advice}')
    return family


def _resnet(weights: Dict[str, Tensor],
            library: str) -> Tuple[Dict[str, str], str]:
    conv1 = weights.get('conv1.weight')
    if conv1 is not None and conv1.shape[-1] != 7:
        if library != 'mmpretrain':
            raise ValueError(
                f'conv1.weight is {tuple(conv1.shape)}, the stem of '
                f'mmpretrain.ResNet_CIFAR; {library} has only ResNets with a '
                '7x7 convolution there' + _scope(library))
        return {key: key for key in weights}, "type='ResNet_CIFAR'"

    pooled = _pooled_shortcuts(weights)
    names = {}
    for key in weights:
        module, _, end = key.rpartition('.')
        if library in FLAT_STEM:
            module = _STEM.get(module, module)
        elif not module.endswith(('.conv', '.bn')):
            module = {v: k for k, v in _STEM.items()}.get(module, module)
        if pooled and re.match(r'layer\d\.0\.downsample', module):
            module = _shortcut(module, weights, library)
        names[key] = f'{module}.{end}'
    grouped = weights['layer1.0.conv2.weight']
    config = "type='ResNeXt'" if grouped.shape[1] < grouped.shape[0] else \
        "type='ResNet'"
    config += ', deep_stem=True' if conv1 is None else ''  # ResNetV1c
    config += ', avg_down=True' if pooled else ''  # and both: ResNetV1d
    return names, config


def _pooled_shortcuts(weights: Dict[str, Tensor]) -> bool:
    """Whether shortcuts are average-pooled: the convolution comes second."""
    return any(re.fullmatch(r'layer[2-4]\.0\.downsample\.1\.weight', key) and
               value.dim() == 4 for key, value in weights.items())


def _shortcut(module: str, weights: Dict[str, Tensor], library: str) -> str:
    """The name of a part of an average-pooled shortcut.

    Where nothing is to be pooled, mmseg and mmdet keep a pooling of 1x1, and
    the others have none.
    """
    path, index = module[:-1], int(module[-1])
    first = 0 if f'{path}0.weight' in weights else 1
    if library in FLAT_STEM:
        wanted = 1
    else:
        wanted = 0 if path.startswith('layer1') else first
    return f'{path}{index - first + wanted}'


def _hrnet(weights: Dict[str, Tensor], library: str,
           single_scale: bool) -> Tuple[Dict[str, str], str]:
    last = max(int(key.split('.')[1]) for key in weights
               if key.startswith('stage4.'))
    others = re.compile(rf'stage4\.{last}\.fuse_layers\.[1-9]')
    names = {key: key for key in weights
             if not (single_scale and others.match(key))}
    multiscale = any(others.match(key) for key in names)
    config = f'multiscale_output={multiscale}'
    if library == 'mmpose':
        config = f'extra=dict(stage4=dict({config}, ...), ...)'
    note = dict(
        mmseg='. mmseg scales up bilinearly between its branches and the '
        'others by nearest neighbours: a student of theirs has other features '
        'there, until it is fine-tuned; distil mmseg.HRNet for the same',
        mmdet='. mmdet scales up by nearest neighbours between its branches: '
        'a student that does so bilinearly has other features there, until it '
        'is fine-tuned',
        mmpose='. If it was distilled as mmseg.HRNet, add to `extra`: '
        'upsample=dict(mode=\'bilinear\', align_corners=False)')
    return names, f"type='HRNet', {config}" + note.get(library, '')


def _mobilenet_v2(weights: Dict[str, Tensor],
                  library: str) -> Tuple[Dict[str, str], str]:
    last = [key for key in weights if key.startswith('conv2.')]
    if library != 'mmseg' and not last:
        raise ValueError('there is no conv2.conv.weight and no conv2.bn.*: '
                         'this MobileNetV2 is mmseg\'s, which ends at layer7; '
                         f'{library}\'s has one more convolution' +
                         _scope(library))
    return {key: _block_part(key, library) for key in weights
            if library != 'mmseg' or key not in last}, "type='MobileNetV2'"


def _block_part(key: str, library: str) -> str:
    """A name in a MobileNetV2, whose convolutions mmdet does not number."""
    found = re.match(r'layer(\d)\.\d+\.(conv\.(\d)|(\w+_conv))\.', key)
    if found is None:
        return key
    first = int(found[1] == '1')
    index = int(found[3]) if found[3] else \
        _BLOCK_PARTS.index(found[4]) - first
    name = _BLOCK_PARTS[index + first] if library == 'mmdet' else \
        f'conv.{index}'
    return key[:found.start(2)] + name + key[found.end(2):]
