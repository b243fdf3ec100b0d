"""A diffusers denoiser from its config, checked."""
from torch import nn


def build_denoiser(config: dict,
                   key: str,
                   conditional: bool = False) -> nn.Module:
    """Build a ``UNet2DModel`` of grey or colour images.

    Args:
        config (dict): Arguments of ``UNet2DModel``.
        key (str): The config key that holds them, for error messages.
        conditional (bool): Whether it may have an embedding of classes.
            Defaults to False.

    Returns:
        diffusers.UNet2DModel: With random weights.

    Raises:
        ValueError: If diffusers refuses the config, or the denoiser is
            conditional in a way that it may not be, or has other channels.
    """
    from diffusers import UNet2DModel  # takes seconds to import
    try:
        denoiser = UNet2DModel(**config)
    except (TypeError, ValueError) as error:
        raise ValueError(f'`{key}`: diffusers cannot build a UNet2DModel from '
                         f'it: {error}') from error
    config = denoiser.config
    if config.class_embed_type and conditional:
        raise ValueError(
            f'`{key}`: this denoiser is class-conditional by '
            f'class_embed_type={config.class_embed_type!r}, which has no '
            'classes to choose from; `num_class_embeds` is expected')
    if not conditional and (config.num_class_embeds
                            or config.class_embed_type):
        raise ValueError(f'`{key}`: this denoiser is class-conditional; an '
                         'unconditional one is expected')
    if config.in_channels not in (1, 3):
        raise ValueError(f'`{key}`: a denoiser of 1 or 3 channels is '
                         f'expected, this one has {config.in_channels}')
    return denoiser
