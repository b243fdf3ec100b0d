"""What makes latents of images."""
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from repfusion_mm.models.utils.taps import drop_weights

from .files import Files, read_json
from .layout import Layout, diffusers_class
from .single_file import read_part

# behind the latents: nothing of it is needed
DECODER = ('decoder', 'post_quant_conv', 'quantize')


def build_autoencoder(files: Files, prefix: str) -> Any:
    """An autoencoder of any class of diffusers, with random weights.

    Args:
        files (Files): Of the pipeline.
        prefix (str): Of the autoencoder's files in it, such as ``'vae/'``.

    Returns:
        nn.Module: In eval mode.

    Raises:
        OSError: If its config cannot be read.
        ValueError: If this diffusers does not have its class.
    """
    config = read_json(files, f'{prefix}config.json')
    cls = diffusers_class(str(config.get('_class_name')),
                          f'{prefix!r} of {files.where!r} ')
    return cls(**cls.extract_init_dict(dict(config))[0]).eval()


def read_autoencoder(layout: Layout, prefix: str) -> nn.Module:
    """An autoencoder's encoder with its weights.

    Args:
        layout (Layout): The folder.
        prefix (str): Of the autoencoder's files in it.

    Returns:
        nn.Module: In float32, on the CPU; the decoder has no weights.

    Raises:
        OSError: If the weights cannot be read, or do not fit.
    """
    with torch.device('meta'):
        autoencoder = build_autoencoder(layout.files, prefix)
    has_variant = any(f'.{layout.variant}.' in name
                      for name in layout.files.inside(prefix))
    autoencoder = read_part(
        autoencoder, layout if has_variant else replace(layout, variant=None),
        prefix)
    drop_weights(autoencoder, [name for name, _
                               in autoencoder.named_children()
                               if name in DECODER])
    return autoencoder


def latents_of(autoencoder: Any, images: Tensor,
               which: str = 'mean') -> Tensor:
    """Latents as a denoiser takes them, shifted and scaled.

    Args:
        autoencoder (nn.Module): Of any class of diffusers.
        images (Tensor): From -1 to 1, (N, 3, H, W).
        which (str): ``'mean'``, or ``'sample'`` of what the autoencoder says
            they may be. Defaults to ``'mean'``; the same where it says one.

    Returns:
        Tensor: (N, C, h, w).
    """
    encoded = autoencoder.encode(images, return_dict=False)[0]
    if not isinstance(encoded, Tensor):  # a distribution
        encoded = encoded.sample() if which == 'sample' else encoded.mode()
    config = autoencoder.config
    shift = config.get('shift_factor')
    encoded = encoded if shift is None else encoded - shift
    return encoded * config.get('scaling_factor', 1.)
