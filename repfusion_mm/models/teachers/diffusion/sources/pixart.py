"""PixArt-alpha and PixArt-sigma."""
from typing import Any, Dict, Tuple

import torch
from torch import Tensor

from ..conditions.text_encoders import TextEncoders
from .base import Told
from .families import family
from .patches import PatchSource
from .prompts import PromptSource
from .text_tokens import encode_masked

LENGTHS = dict(PixArtSigmaPipeline=300)  # tokens of a text; of others:
LENGTH = 120


@family('PixArtTransformer2DModel')
class PixArt(PromptSource, PatchSource):
    """A transformer of latents that is told a text by cross-attention.

    PixArt-alpha at 1024 pixels is also told the size of the image, which is
    the one that it is resized to. Its blocks modulate after their layer norms
    in no module of their own.

    Source: Chen et al., "PixArt-alpha: Fast Training of Diffusion Transformer
    for Photorealistic Text-to-Image Synthesis", ICLR 2024, and "PixArt-sigma:
    Weak-to-Strong Training of Diffusion Transformer for 4K Text-to-Image
    Generation", ECCV 2024.
    """

    def build(self) -> Any:
        """As of :class:`Source`."""
        denoiser = super().build()
        self.is_told_size = denoiser.use_additional_conditions
        return denoiser

    @property
    def text_length(self) -> int:
        """Tokens of a text, padded."""
        return LENGTHS.get(self.layout.index.get('_class_name', ''), LENGTH)

    def text_shapes(self) -> Dict[str, Tuple[int, ...]]:
        """As of :class:`PromptSource`."""
        return dict(encoder_hidden_states=(self.text_length,
                                           self.config['caption_channels']),
                    encoder_attention_mask=(self.text_length, ))

    def encode_text(self, encoders: TextEncoders, prompt: str) -> Told:
        """As of :class:`PromptSource`."""
        return encode_masked(*encoders.read(), prompt, self.text_length)

    def arguments(self, timesteps: Tensor,
                  told: Told) -> Tuple[Tuple[Any, ...], Dict[str, Any]]:
        """As of :class:`Source`."""
        size: Dict[str, Any] = dict(resolution=None, aspect_ratio=None)
        if self.is_told_size:
            text = told['encoder_hidden_states']
            height, width = self.image_size
            size = dict(
                resolution=torch.tensor([[height, width]]).to(text),
                aspect_ratio=torch.tensor([[height / width]]).to(text))
            size = {name: value.expand(len(text), -1)
                    for name, value in size.items()}
        return (), dict(told, timestep=self.process.told(timesteps),
                        added_cond_kwargs=size, return_dict=False)

    def is_text(self, path: str) -> bool:
        """As of :class:`FolderSource`."""
        return path.startswith('caption_projection') or path.endswith(
            ('attn2.to_k', 'attn2.to_v'))
