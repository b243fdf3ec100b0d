"""Flux: schnell and dev."""
from typing import Any, Dict, Optional, Sequence, Tuple, Union

import torch
from packaging.version import Version
from torch import Tensor, nn

from ..conditions.text_encoders import TextEncoders
from ..processes import FlowProcess
from .base import Told
from .families import family
from .joint_streams import JointSource
from .stable_diffusion import clip_tokens
from .text_tokens import encode_padded

PATCH = 2  # latents are packed by it before the transformer sees them
GUIDANCE = 3.5  # the scale that diffusers' pipeline takes by default
DEV_LENGTH, SCHNELL_LENGTH = 512, 256  # tokens of a text


@family('FluxTransformer2DModel')
class Flux(JointSource):
    """A transformer of two streams, and then of one, of packed latents.

    Of a model that was distilled from guidance (dev), the scale that it is
    told is 3.5. ``norm1`` of a block, and ``norm`` of one of a single stream,
    give the image's hidden states after the adaptive layer norm.

    Source: Black Forest Labs, "FLUX.1", 2024.
    """
    # the 28th block from 0, of 19 of two streams and 38 of one: DiTF
    default_tap = 'single_transformer_blocks.9.norm'
    text_parts = ('', '_2')
    native_size = 128

    def read_process(self) -> None:
        """As of :class:`LatentSource`."""
        self._process = FlowProcess(1 / 1000)

    def patch(self, config: Any) -> int:
        """As of :class:`PatchSource`."""
        return PATCH

    def latent_channels(self, config: Any) -> int:
        """As of :class:`LatentSource`."""
        return config.in_channels // PATCH**2

    def settle(self, config: Any,
               size: Optional[Union[int, Sequence[int]]], key: str) -> None:
        """As of :class:`Source`."""
        super().settle(config, size, key)
        self.input_shape = (next(iter(self.grids)), config.in_channels)

    def encode(self, images: Tensor, encoder: Optional[nn.Module]) -> Tensor:
        """As of :class:`Source`; packed, (N, L, C)."""
        latents = super().encode(images, encoder)
        height, width = next(iter(self.grids.values()))
        # channels first, then the place in the patch
        return latents.unflatten(3, (width, PATCH)).unflatten(
            2, (height, PATCH)).permute(0, 2, 4, 1, 3, 5).flatten(
                3).flatten(1, 2)

    def text_shapes(self) -> Dict[str, Tuple[int, ...]]:
        """As of :class:`PromptSource`."""
        return dict(
            encoder_hidden_states=(self.text_length,
                                   self.config['joint_attention_dim']),
            pooled_projections=(self.config['pooled_projection_dim'], ))

    @property
    def text_length(self) -> int:
        """Tokens of a text, padded."""
        return DEV_LENGTH if self.is_told_guidance else SCHNELL_LENGTH

    @property
    def is_told_guidance(self) -> bool:
        """Whether the denoiser was distilled from guidance."""
        return bool(self.config.get('guidance_embeds'))

    def encode_text(self, encoders: TextEncoders, prompt: str) -> Told:
        """As of :class:`PromptSource`."""
        tokenizer, encoder = encoders.read()
        pooled = encoder(clip_tokens(tokenizer, prompt)[0]).pooler_output
        return dict(
            encoder_hidden_states=encode_padded(
                *encoders.read('_2'), prompt, self.text_length),
            pooled_projections=pooled)

    def arguments(self, timesteps: Tensor,
                  told: Told) -> Tuple[Tuple[Any, ...], Dict[str, Any]]:
        """As of :class:`Source`: rotary positions, of a text 0."""
        text = told['encoder_hidden_states']
        height, width = next(iter(self.grids.values()))
        rows, columns = torch.meshgrid(
            torch.arange(height, device=text.device),
            torch.arange(width, device=text.device), indexing='ij')
        places = torch.stack([torch.zeros_like(rows), rows, columns],
                             -1).flatten(0, 1).to(text)
        nowhere = text.new_zeros(text.shape[1], 3)
        if _places_have_a_batch():
            places, nowhere = (one.expand(len(text), -1, -1)
                               for one in (places, nowhere))
        guidance = torch.full_like(timesteps, GUIDANCE, dtype=torch.float32) \
            if self.is_told_guidance else None
        return (), dict(told, timestep=self.process.told(timesteps),
                        img_ids=places, txt_ids=nowhere, guidance=guidance,
                        return_dict=False)


def _places_have_a_batch() -> bool:
    """Whether diffusers wants the positions of every image: before 0.31."""
    import diffusers
    return Version(diffusers.__version__) < Version('0.31')
