"""Sana: latents of 32 pixels a side, linear attention."""
import inspect
from typing import Any, Dict, Tuple

import torch
from torch import Tensor

from ..conditions.text_encoders import TextEncoders
from ..processes import FlowProcess
from .base import Told
from .families import family
from .patches import PatchSource
from .prompts import PromptSource
from .text_tokens import encode_masked

LENGTH = 300  # tokens of a text


@family('SanaTransformer2DModel')
class Sana(PromptSource, PatchSource):
    """A transformer of a deep autoencoder's latents that is told a text.

    A prompt stands behind the instruction to the language model that the
    pipeline puts there; no prompt stands alone. Blocks modulate after their
    layer norms in no module of their own.

    Source: Xie et al., "SANA: Efficient High-Resolution Image Synthesis with
    Linear Diffusion Transformers", ICLR 2025.
    """
    default_tap = 'transformer_blocks.9'

    def build(self) -> Any:
        """As of :class:`Source`."""
        if self.config.get('guidance_embeds'):
            raise ValueError(
                f'{self.who}is a Sana-Sprint, whose time is an angle and not '
                'a number of a step; take a Sana')
        return super().build()

    def read_process(self) -> None:
        """As of :class:`LatentSource`: flow matching."""
        self._process = FlowProcess(self.config.get('timestep_scale', 1.))

    @property
    def process(self) -> FlowProcess:
        """As of :class:`Source`."""
        return self._process

    def text_shapes(self) -> Dict[str, Tuple[int, ...]]:
        """As of :class:`PromptSource`."""
        return dict(encoder_hidden_states=(LENGTH,
                                           self.config['caption_channels']),
                    encoder_attention_mask=(LENGTH, ))

    def encode_text(self, encoders: TextEncoders, prompt: str) -> Told:
        """As of :class:`PromptSource`."""
        tokenizer, encoder = encoders.read()
        tokenizer.padding_side = 'right'
        if not prompt:
            return encode_masked(tokenizer, encoder, '', LENGTH)
        instruction = '\n'.join(_instruction())
        length = len(tokenizer.encode(instruction)) + LENGTH - 2
        # only the prompt is read in lower case
        encoded = encode_masked(tokenizer, encoder, prompt, length,
                                instruction)
        kept = torch.tensor([0, *range(1 - LENGTH, 0)])
        return {name: value[:, kept] for name, value in encoded.items()}

    def arguments(self, timesteps: Tensor,
                  told: Told) -> Tuple[Tuple[Any, ...], Dict[str, Any]]:
        """As of :class:`Source`."""
        return (), dict(told, timestep=self.process.told(timesteps),
                        return_dict=False)

    def is_text(self, path: str) -> bool:
        """As of :class:`FolderSource`."""
        return path.startswith('caption_') or '.attn2.' in path and \
            path.endswith(('.to_k', '.to_v', '.norm_k'))


def _instruction() -> Any:
    """What the pipeline writes in front of a prompt by default."""
    from diffusers import SanaPipeline
    return inspect.signature(SanaPipeline.__call__).parameters[
        'complex_human_instruction'].default
