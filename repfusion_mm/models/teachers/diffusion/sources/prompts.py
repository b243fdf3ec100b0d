"""Families that are told a text."""
from typing import Any, Dict, List, Optional, Tuple

import torch
from mmengine.logging import print_log
from torch import Tensor

from ..conditions.label_rows import LabelRows
from ..conditions.prompt_condition import PromptCondition
from ..conditions.store import ConditionStore
from ..conditions.text_encoders import TextEncoders
from .base import Told
from .folder import FolderSource


class PromptSource(FolderSource):
    """A denoiser that is told a text.

    Attributes:
        text_parts (tuple[str]): Suffixes of the names of its text encoders.
    """
    text_parts: Tuple[str, ...] = ('', )

    def text_shapes(self) -> Dict[str, Tuple[int, ...]]:
        """What an image is told, by name, without the batch."""
        raise NotImplementedError

    def encode_text(self, encoders: TextEncoders, prompt: str) -> Told:
        """What the denoiser is told of a prompt, as its pipeline does it.

        Args:
            encoders (TextEncoders): Of the pipeline.
            prompt (str): A prompt.

        Returns:
            dict[str, Tensor]: Each (1, ...).
        """
        raise NotImplementedError

    def encode_nothing(self) -> Optional[Told]:
        """What it is told of no prompt, if that is no text.

        Returns:
            dict[str, Tensor], optional: None if it is the empty text.
        """
        return None

    def settle_condition(self, cfg: Any, config: Any,
                         key: str) -> PromptCondition:
        """As of :class:`Source`; no prompt if nothing is said."""
        return PromptCondition(cfg, key)

    def trial(self) -> Told:
        """As of :class:`Source`."""
        return {name: torch.empty(1, *shape, device='meta')
                for name, shape in self.text_shapes().items()}

    def told(self, condition: LabelRows) -> Told:
        """As of :class:`Source`; what is not stored is encoded."""
        assert isinstance(condition, PromptCondition)
        rows = self._encoded(condition.prompts)
        tables = {name: torch.cat([row[name] for row in rows])
                  for name in rows[0]}
        if condition.reads_labels:
            tables = {name: torch.cat([table, torch.full_like(
                table[:1], torch.nan)]) for name, table in tables.items()}
        return tables

    def put_condition(self, denoiser: Any, condition: Any) -> None:
        """As of :class:`Source`: a text is an argument."""

    def _encoded(self, prompts: List[Optional[str]]) -> List[Told]:
        nothing = self.encode_nothing()
        texts = ['' if prompt is None else prompt for prompt in prompts
                 if prompt is not None or nothing is None]
        encoded: Dict[Optional[str], Dict[str, Tensor]] = {}
        if nothing is not None:
            encoded[None] = nothing
        if texts:
            encoders = TextEncoders(self.layout.files, self.layout.index,
                                    self.text_parts)
            store = ConditionStore(self.options.condition_dir,
                                   encoders.identity)
            with encoders, torch.no_grad():
                for index, text in enumerate(dict.fromkeys(texts)):
                    found = store.get(text)
                    if found is None:
                        found = {name: value.float() for name, value in
                                 self.encode_text(encoders, text).items()}
                        store.put(text, found)
                        print_log(f'Prompt {index + 1} of {len(set(texts))}, '
                                  f'{text!r}, was encoded and is kept in '
                                  f'{store.folder}', 'current')
                    encoded[text] = found
        if nothing is None:
            encoded[None] = encoded.get('', {})
        return [encoded[prompt] for prompt in prompts]
