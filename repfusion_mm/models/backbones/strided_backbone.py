"""A backbone of another library with other strides, for small images."""
from typing import Any, Dict, Optional

from torch import nn

from repfusion_mm.arguments.annotations import Count
from repfusion_mm.registry import MODELS

from ..utils.building import build_part
from ..utils.nearest import nearest


@MODELS.register_module()
def StridedBackbone(backbone: dict,
                    strides: Dict[str, Count],
                    init_cfg: Optional[dict] = None) -> nn.Module:
    """Build a backbone and set the strides of some of its layers.

    Some backbones divide the side of the image by 32 and take no argument
    against it, so that nothing is left of 32x32 pixels. What is built is the
    library's own backbone: the names and shapes of its weights are as ever.

    Args:
        backbone (dict): Its config.
        strides (dict[str, int]): Stride by the module path of a convolution
            or pooling.
        init_cfg (dict, optional): Its initialisation, in place of its own.
            Defaults to None.

    Returns:
        nn.Module: The backbone.

    Raises:
        ValueError: If a path names no layer with a stride; the nearest are
            named.

    Example:
        >>> backbone = dict(
        ...     type='repfusion_mm.StridedBackbone',
        ...     backbone=dict(type='mmpretrain.ShuffleNetV2'),
        ...     strides={'conv1.conv': 1, 'maxpool': 1})
    """
    changes: Dict[str, Any] = {} if init_cfg is None else \
        dict(init_cfg=init_cfg)
    built = build_part('backbone', {**backbone, **changes})
    layers = {path: layer for path, layer in built.named_modules()
              if hasattr(layer, 'stride') and not [*layer.children()]}
    for path, stride in strides.items():
        if path not in layers:
            raise ValueError(
                f'`backbone.strides` names {path!r}, which is no layer with a '
                f'stride of {type(built).__name__}; nearest: '
                f'{nearest(path, layers)}')
        old = layers[path].stride
        layers[path].stride = type(old)([stride] * len(old)) \
            if isinstance(old, (tuple, list)) else stride
    return built
