"""Transformers in which tokens of image and text attend to each other."""
import re
from typing import Any

from torch import Tensor

from ..processes import FlowProcess
from .hidden import first_tensor, folded
from .patches import PatchSource
from .prompts import PromptSource

BLOCK = re.compile(r'(single_)?transformer_blocks\.\d+')
# norms of queries and keys see the heads apart
HEADS = ('norm_q', 'norm_k', 'norm_added_q', 'norm_added_k')
TEXT = re.compile(
    r'context_embedder|.*\.(norm1_context|norm2_context|ff_context'
    r'|attn\.(add_[qkv]_proj|norm_added_[qk]|to_add_out))(\..*)?')


class JointSource(PromptSource, PatchSource):
    """A transformer with tokens of an image beside those of a text.

    The hidden states that a module returns are the image's: of a block, which
    returns the text's before them; of a block of one stream, what is left
    when the text's are cut off in front.
    """

    def read_process(self) -> None:
        """As of :class:`LatentSource`: flow matching."""
        self._process = FlowProcess()

    @property
    def process(self) -> FlowProcess:
        """As of :class:`Source`."""
        return self._process

    def hidden(self, path: str, output: Any) -> Any:
        """As of :class:`Source`."""
        if BLOCK.fullmatch(path) and isinstance(output, tuple):
            output = output[-1]
        tokens = first_tensor(output)
        if tokens is None:
            return output
        if path.endswith(HEADS) and tokens.dim() == 4:
            tokens = self._heads_as_channels(tokens)
        if tokens.dim() != 3 or self.is_text(path):
            return tokens
        if path.startswith('single_'):
            tokens = tokens[:, -next(iter(self.grids)):]
        return folded(tokens, self.grids)

    def is_text(self, path: str) -> bool:
        """As of :class:`FolderSource`."""
        return TEXT.fullmatch(path) is not None

    def _heads_as_channels(self, tokens: Tensor) -> Tensor:
        """(N, L, heads, C), or (N, heads, L, C), as (N, L, heads * C)."""
        if tokens.shape[2] != self.config['num_attention_heads']:
            tokens = tokens.transpose(1, 2)
        return tokens.flatten(2)
