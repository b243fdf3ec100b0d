"""Stable Diffusion XL."""
from typing import Any, Dict, Optional, Tuple

import torch
from torch import Tensor

from ..conditions.text_encoders import TextEncoders
from .base import Told
from .families import family
from .stable_diffusion import StableDiffusion, clip_tokens

NUM_IDS = 6  # original size, corner of the crop, target size


@family('UNet2DConditionModel+text_time')
class StableDiffusionXL(StableDiffusion):
    """As before, and told two texts, one pooled, and the image's size.

    It is told that the image has the size that it is resized to, and was not
    cropped. No prompt is zeros, where the pipeline says so.

    Source: Podell et al., "SDXL: Improving Latent Diffusion Models for
    High-Resolution Image Synthesis", ICLR 2024.
    """
    text_parts = ('', '_2')

    def build(self) -> Any:
        """As of :class:`Source`."""
        denoiser = super().build()
        config = denoiser.config
        self.pooled_width = config.projection_class_embeddings_input_dim - \
            NUM_IDS * config.addition_time_embed_dim
        if self.layout.index.get('requires_aesthetics_score') or \
                'tokenizer' in self.layout.index and \
                self.layout.part_class('tokenizer') is None:
            raise ValueError(
                f'{self.who}is a refiner, which is told an aesthetic score '
                'and looks at images with little noise only; take the base '
                'model')
        return denoiser

    def text_shapes(self) -> Dict[str, Tuple[int, ...]]:
        """As of :class:`PromptSource`."""
        return dict(super().text_shapes(), text_embeds=(self.pooled_width, ))

    def encode_nothing(self) -> Optional[Told]:
        """As of :class:`PromptSource`."""
        if not self.layout.index.get('force_zeros_for_empty_prompt'):
            return None
        return {name: torch.zeros(1, *shape)
                for name, shape in self.text_shapes().items()}

    def encode_text(self, encoders: TextEncoders, prompt: str) -> Told:
        """As of :class:`PromptSource`."""
        hidden = []
        for suffix in self.text_parts:
            tokenizer, encoder = encoders.read(suffix)
            outputs = encoder(clip_tokens(tokenizer, prompt)[0],
                              output_hidden_states=True)
            hidden.append(outputs.hidden_states[-2])
        return dict(encoder_hidden_states=torch.cat(hidden, -1),
                    text_embeds=outputs[0])

    def arguments(self, timesteps: Tensor,
                  told: Told) -> Tuple[Tuple[Any, ...], Dict[str, Any]]:
        """As of :class:`Source`."""
        told = dict(told)
        pooled = told.pop('text_embeds')
        height, width = self.image_size
        ids = torch.tensor([height, width, 0, 0, height, width],
                           dtype=pooled.dtype, device=pooled.device)
        args, kwargs = super().arguments(timesteps, told)
        return args, dict(kwargs, added_cond_kwargs=dict(
            text_embeds=pooled, time_ids=ids.expand(len(pooled), -1)))
