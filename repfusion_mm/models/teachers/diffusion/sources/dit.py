"""DiT: a transformer of latents that is told a class."""
from typing import Any, Dict, Optional, Sequence, Tuple, Union

from torch import Tensor, nn

from ..conditions.class_condition import ClassCondition
from ..conditions.label_rows import LabelRows
from .base import Told
from .families import family
from .patches import PatchSource


@family('DiTTransformer2DModel')
class DiT(PatchSource):
    """A transformer of latents that is told one of ImageNet's classes.

    It was trained with one more class that says nothing, which it is told if
    the config says nothing. ``norm1`` of a block gives the hidden states
    after the adaptive layer norm.

    Source: Peebles and Xie, "Scalable Diffusion Models with Transformers",
    ICCV 2023.
    """

    def settle_size(self, size: Optional[Union[int, Sequence[int]]],
                    stride: int, config: Any, key: str) -> Tuple[int, int]:
        """As of :class:`LatentSource`."""
        height, width = super().settle_size(size, stride, config, key)
        if height != width:
            raise ValueError(
                f'`{key}` is {size}, but DiTTransformer2DModel of diffusers '
                f'takes squares alone; nearest: {height} or {width}')
        return height, width

    def settle_condition(self, cfg: Any, config: Any,
                         key: str) -> ClassCondition:
        """As of :class:`Source`; the class that says nothing by default."""
        classes = config.num_embeds_ada_norm
        if cfg is None:
            return ClassCondition(dict(fixed=classes), classes + 1, key)
        return ClassCondition(cfg, classes, key)

    def put_condition(self, denoiser: nn.Module,
                      condition: LabelRows) -> None:
        """As of :class:`Source`: each block has its embedding of classes."""
        assert isinstance(condition, ClassCondition)
        blocks: Any = denoiser.transformer_blocks
        for block in blocks:
            embedder = block.norm1.emb.class_embedder
            embedder.embedding_table = condition.embedding(
                embedder.embedding_table.weight)

    def arguments(self, timesteps: Tensor,
                  told: Told) -> Tuple[Tuple[Any, ...], Dict[str, Any]]:
        """As of :class:`Source`."""
        return (), dict(told, timestep=self.process.told(timesteps),
                        return_dict=False)
