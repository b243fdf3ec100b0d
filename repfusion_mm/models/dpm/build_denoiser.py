"""A diffusers denoiser from its config, checked."""
from typing import Any

# what it means that a denoiser takes so many channels
_OTHER_CHANNELS = {
    4: 'those of a latent space',
    6: 'those of a colour image and of one to go by (super-resolution)'
}


def build_denoiser(config: dict,
                   key: str,
                   num_timesteps: int,
                   conditional: bool = False) -> Any:
    """Build a ``UNet2DModel`` of grey or colour images at DDPM's time steps.

    Args:
        config (dict): Arguments of ``UNet2DModel``.
        key (str): The config key that holds them, for error messages.
        num_timesteps (int): Length of its noise schedule.
        conditional (bool): Whether it may have an embedding of classes.
            Defaults to False.

    Returns:
        diffusers.UNet2DModel: With random weights.

    Raises:
        ValueError: If diffusers refuses the config, or the denoiser is
            conditional in a way that it may not be, has other channels, or
            takes another time than the number of a step.
    """
    from diffusers import UNet2DModel  # takes seconds to import
    try:
        denoiser = UNet2DModel(**config)
    except (TypeError, ValueError) as error:
        raise ValueError(f'`{key}`: diffusers cannot build a UNet2DModel from '
                         f'it: {error}') from error
    settled = denoiser.config
    if settled.class_embed_type and conditional:
        raise ValueError(
            f'`{key}`: this denoiser is class-conditional by '
            f'class_embed_type={settled.class_embed_type!r}, which has no '
            'classes to choose from; `num_class_embeds` is expected')
    if not conditional and (settled.num_class_embeds
                            or settled.class_embed_type):
        raise ValueError(f'`{key}`: this denoiser is class-conditional; an '
                         'unconditional one is expected')
    if settled.in_channels not in (1, 3):
        what = _OTHER_CHANNELS.get(settled.in_channels)
        raise ValueError(f'`{key}`: a denoiser of 1 or 3 channels is '
                         f'expected, this one has {settled.in_channels}'
                         + (f', {what}' if what else ''))
    _check_time(settled, key, num_timesteps)
    return denoiser


def _check_time(config: Any, key: str, num_timesteps: int) -> None:
    kind = config.time_embedding_type
    if kind == 'learned':
        if config.num_train_timesteps < num_timesteps:
            raise ValueError(
                f'`{key}`: this denoiser has learned '
                f'{config.num_train_timesteps} time steps '
                '(`num_train_timesteps`), but its noise schedule has '
                f'{num_timesteps}')
    elif kind != 'positional':
        raise ValueError(
            f'`{key}`: this denoiser has time_embedding_type={kind!r}: its '
            'time is the sigma of the noise, as in a score SDE, and not the '
            'number of a time step; take one with \'positional\', such as '
            '\'google/ddpm-celebahq-256\'')
