"""Stable Diffusion 1 and 2, Turbo, and latent consistency models."""
import math
from typing import Any, Dict, Tuple

import torch
from torch import Tensor

from ..conditions.text_encoders import TextEncoders
from .base import Told
from .families import family
from .files import has, read_json
from .folder import LatentSource
from .prompts import PromptSource

CLIP_LENGTH = 77
LCM_GUIDANCE = 8.5  # the scale that diffusers' pipeline takes by default
CONFIG = 'tokenizer/tokenizer_config.json'


@family('UNet2DConditionModel')
class StableDiffusion(PromptSource, LatentSource):
    """A U-Net of latents that is told a text by cross-attention.

    Source: Rombach et al., "High-Resolution Image Synthesis with Latent
    Diffusion Models", CVPR 2022.
    """
    default_tap = 'up_blocks.1'

    def build(self) -> Any:
        """As of :class:`Source`."""
        denoiser = super().build()
        told = {name: denoiser.config.get(name) for name in (
            'class_embed_type', 'num_class_embeds', 'encoder_hid_dim_type')}
        if any(told.values()):
            raise ValueError(
                f'{self.who}is told more than a text: {told}; take one for '
                'text to image')
        return denoiser

    def text_shapes(self) -> Dict[str, Tuple[int, ...]]:
        """As of :class:`PromptSource`."""
        return dict(encoder_hidden_states=(
            self.text_length(), self.config['cross_attention_dim']))

    def text_length(self) -> int:
        """Tokens of a text, padded."""
        files = self.layout.files
        length = read_json(files, CONFIG).get('model_max_length') \
            if has(files, CONFIG) else None
        return length or CLIP_LENGTH

    def encode_text(self, encoders: TextEncoders, prompt: str) -> Told:
        """As of :class:`PromptSource`."""
        tokenizer, encoder = encoders.read()
        ids, mask = clip_tokens(tokenizer, prompt)
        masks = getattr(encoder.config, 'use_attention_mask', False)
        return dict(encoder_hidden_states=encoder(
            ids, attention_mask=mask if masks else None)[0])

    def arguments(self, timesteps: Tensor,
                  told: Told) -> Tuple[Tuple[Any, ...], Dict[str, Any]]:
        """As of :class:`Source`."""
        width = self.config.get('time_cond_proj_dim')
        if width:  # a latent consistency model
            told = dict(told, timestep_cond=guidance_embedding(
                LCM_GUIDANCE - 1, width, timesteps).to(
                    told['encoder_hidden_states'].dtype))
        return (self.process.told(timesteps), ), dict(told,
                                                      return_dict=False)

    def is_text(self, path: str) -> bool:
        """As of :class:`FolderSource`: keys and values of cross-attention."""
        return path.endswith(('attn2.to_k', 'attn2.to_v'))


def clip_tokens(tokenizer: Any, prompt: str) -> Tuple[Tensor, Tensor]:
    """A text as CLIP takes it, cut off or padded to its length.

    Args:
        tokenizer (transformers.CLIPTokenizer): Of the text encoder.
        prompt (str): The text.

    Returns:
        tuple[Tensor, Tensor]: Token ids and attention mask, long, (1, L).
    """
    tokens = tokenizer(
        prompt, padding='max_length', truncation=True,
        max_length=tokenizer.model_max_length, return_tensors='pt')
    return tokens.input_ids, tokens.attention_mask


def guidance_embedding(guidance: float, width: int,
                       timesteps: Tensor) -> Tensor:
    """What a latent consistency model is told of its guidance.

    Args:
        guidance (float): Scale of classifier-free guidance, less 1.
        width (int): Of the embedding.
        timesteps (Tensor): (N,); only N and the device are read.

    Returns:
        Tensor: (N, width).
    """
    half = width // 2
    rates = torch.exp(torch.arange(half, dtype=torch.float32,
                                   device=timesteps.device)
                      * -(math.log(1e4) / (half - 1)))
    angles = 1000 * guidance * rates
    embedding = torch.cat([angles.sin(), angles.cos()])
    return torch.nn.functional.pad(embedding, (0, width % 2)).expand(
        len(timesteps), width)
