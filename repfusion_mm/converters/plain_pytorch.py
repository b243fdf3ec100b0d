"""A backbone of mmpretrain, mmseg, mmpose or mmdet outside OpenMMLab."""
import importlib
from typing import Any, Dict, Tuple

import torch
from torch import Tensor, nn

from .backbones import END, NAMES, convert_backbone, family_of
from .renaming import Convert, Model
from .timm_names import TIMM
from .torchvision_names import TORCHVISION

PLAIN_LIBRARIES = ('timm', 'torchvision')
_FAMILIES: Dict[str, Dict[str, Convert]] = dict(
    timm=TIMM, torchvision=TORCHVISION)
_NAMES = {
    **NAMES,
    'ConvNeXt':
    rf'downsample_layers\.\d\.[01]\.{END}|norm\d\.{END}|stages\.\d\.\d+\.'
    rf'(gamma|(depthwise_conv|norm|pointwise_conv[12])\.{END})',
    'VisionTransformer':
    rf'cls_token|pos_embed|ln1\.{END}|patch_embed\.projection\.{END}|'
    r'layers\.\d+\.(ln[12]|attn\.(qkv|proj)|ffn\.layers\.(0\.0|1))\.'
    rf'{END}',
}


def convert_to_plain(weights: Dict[str, Tensor], library: str) -> Model:
    """A backbone as timm or torchvision have it, without a classifier.

    ResNet, MobileNetV2, ConvNeXt and SwinTransformer; for timm also
    VisionTransformer, and for torchvision also ShuffleNetV2. They compute the
    same there: what has another order is put into that of the library.

    Args:
        weights (dict[str, Tensor]): State dict of the backbone, without a
            prefix.
        library (str): One of :data:`PLAIN_LIBRARIES`.

    Returns:
        Model: What it is there. It has been built, and the weights fit.

    Raises:
        ValueError: If the library has no such model.
        ModuleNotFoundError: If the library is not installed.
    """
    family = family_of(weights, _NAMES)
    known = _FAMILIES[library]
    if family not in known:
        raise ValueError(
            f'{library} has no {family} like ours; --to {library} converts '
            f'{", ".join(known)}. --to onnx takes any backbone')
    if family == 'ResNet':
        _refuse_small_stem(weights, library)
    if family in NAMES:  # by whichever library's names it comes
        names, _ = convert_backbone(
            weights, 'mmseg' if family == 'ResNet' else 'mmpretrain')
        weights = {new: weights[old] for old, new in names.items()}
    model = known[family](weights)
    build_plain(model, library)
    return model


def build_plain(model: Model, library: str) -> nn.Module:
    """The model of the library, with the weights.

    Args:
        model (Model): Of :func:`convert_to_plain`.
        library (str): Whose it is.

    Returns:
        nn.Module: Which gives pooled features.

    Raises:
        ValueError: If the weights are not those of this model.
        ModuleNotFoundError: If the library is not installed.
    """
    try:
        module: Any = importlib.import_module(
            'torchvision.models' if library == 'torchvision' else library)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f'--to {library} builds the model there, to see that the weights '
            f'fit, and {error.name} is not installed: pip install {library}'
        ) from None
    with torch.random.fork_rng([]):
        try:
            built = module.create_model(
                model.name, num_classes=0, **model.options) \
                if library == 'timm' else getattr(module, model.name)()
        except (AttributeError, RuntimeError) as error:
            raise ValueError(f'{library} has no {model.name}: {error}'
                             ) from None
    if library == 'torchvision':
        path, _, name = model.head.rpartition('.')
        setattr(built.get_submodule(path), name, nn.Identity())
    try:
        built.load_state_dict(model.weights, strict=True)
    except RuntimeError as error:
        raise ValueError(
            f'it is nearest to {library}\'s {model.name}, but not the same: '
            f'{str(error)[:400]}') from None
    return built.eval()


def how_to_load(model: Model, library: str, file: str) -> str:
    """Python code that loads the model from a file.

    Args:
        model (Model): Of :func:`convert_to_plain`.
        library (str): Whose it is.
        file (str): That holds its weights.

    Returns:
        str: It defines ``model``.
    """
    options = ''.join(f', {key}={value!r}' for key, value
                      in model.options.items())
    if library == 'timm':
        return ('import timm\n'
                f'model = timm.create_model({model.name!r}, num_classes=0'
                f'{options}, checkpoint_path={file!r})')
    reading = f'torch.load({file!r})'
    if file.endswith('.safetensors'):
        reading = f'safetensors.torch.load_file({file!r})'
    path, dot, index = model.head.rpartition('.')
    place = f'{path}[{index}]' if dot else model.head
    return ('import torch, torchvision' + (
        ', safetensors.torch' if 'safetensors' in reading else '') + '\n'
            f'model = torchvision.models.{model.name}()\n'
            f'model.{place} = torch.nn.Identity()  # your classifier later\n'
            f'model.load_state_dict({reading})')


def _refuse_small_stem(weights: Dict[str, Tensor], library: str) -> None:
    conv1 = weights.get('conv1.weight')
    if conv1 is None or conv1.shape[-1] == 7:
        return
    shape: Tuple[int, ...] = tuple(conv1.shape)
    raise ValueError(
        f'conv1.weight is {shape}, the stem of mmpretrain.ResNet_CIFAR; '
        f'{library} has only ResNets with a 7x7 convolution and a pooling '
        'there. Publish it without --to: behind `backbone.` the names are '
        f'the same, so that a {library} ResNet of this depth takes them once '
        f'model.conv1 = torch.nn.Conv2d({shape[1]}, {shape[0]}, 3, padding=1, '
        'bias=False) and model.maxpool = torch.nn.Identity() (a Wide ResNet '
        'of three stages it does not); or use --to onnx')
