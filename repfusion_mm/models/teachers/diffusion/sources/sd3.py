"""Stable Diffusion 3 and 3.5."""
from typing import Any, Dict, Tuple

import torch
from torch import Tensor

from ..conditions.text_encoders import TextEncoders
from .base import Told
from .families import family
from .joint_streams import JointSource
from .stable_diffusion import CLIP_LENGTH, clip_tokens
from .text_tokens import encode_padded

T5_LENGTH = 256


@family('SD3Transformer2DModel')
class StableDiffusion3(JointSource):
    """A transformer of two streams that is told three texts, two pooled.

    Where the pipeline has been left without T5, ``text_encoder_3``, that text
    is zeros. ``norm1`` of a block gives the image's hidden states after the
    adaptive layer norm.

    Source: Esser et al., "Scaling Rectified Flow Transformers for
    High-Resolution Image Synthesis", ICML 2024.
    """
    default_tap = 'transformer_blocks.9.norm1'

    @property
    def text_parts(self) -> Tuple[str, ...]:  # type: ignore[override]
        """As of :class:`PromptSource`: T5 may have been left out."""
        return ('', '_2', '_3')[:2 + self.has_t5]

    @property
    def has_t5(self) -> bool:
        """Whether T5 is there."""
        return self.layout.part_class('text_encoder_3') is not None

    def text_shapes(self) -> Dict[str, Tuple[int, ...]]:
        """As of :class:`PromptSource`."""
        return dict(
            encoder_hidden_states=(CLIP_LENGTH + T5_LENGTH,
                                   self.config['joint_attention_dim']),
            pooled_projections=(self.config['pooled_projection_dim'], ))

    def encode_text(self, encoders: TextEncoders, prompt: str) -> Told:
        """As of :class:`PromptSource`."""
        hidden, pooled = [], []
        for suffix in self.text_parts[:2]:
            tokenizer, encoder = encoders.read(suffix)
            outputs = encoder(clip_tokens(tokenizer, prompt)[0],
                              output_hidden_states=True)
            hidden.append(outputs.hidden_states[-2])
            pooled.append(outputs[0])
        clip = torch.cat(hidden, -1)
        width = self.config['joint_attention_dim']
        clip = torch.nn.functional.pad(clip, (0, width - clip.shape[-1]))
        t5 = encode_padded(*encoders.read('_3'), prompt, T5_LENGTH) \
            if self.has_t5 else clip.new_zeros(1, T5_LENGTH, width)
        return dict(encoder_hidden_states=torch.cat([clip, t5], 1),
                    pooled_projections=torch.cat(pooled, -1))

    def arguments(self, timesteps: Tensor,
                  told: Told) -> Tuple[Tuple[Any, ...], Dict[str, Any]]:
        """As of :class:`Source`."""
        return (), dict(told, timestep=self.process.told(timesteps),
                        return_dict=False)
