"""Encoded prompts on disk, so that a text encoder is needed only once."""
import hashlib
import os
import os.path as osp
from typing import Dict, Optional

from mmengine.logging import print_log
from torch import Tensor

Encoded = Dict[str, Tensor]
FOLDER = '~/.cache/repfusion_mm/conditions'


class ConditionStore:
    """A folder with one safetensors file for each prompt and text encoder.

    A file says in its metadata what it is of, and a hash of its tensors: one
    that is damaged is encoded again.

    Args:
        folder (str): Where; ``~`` is the home folder.
        encoder (str): What tells the text encoders, their tokenizers and
            weights, from others, a hash.
    """

    def __init__(self, folder: str, encoder: str) -> None:
        self.folder = osp.expanduser(folder)
        self.encoder = encoder

    def path(self, prompt: str) -> str:
        """The file of a prompt.

        Args:
            prompt (str): The prompt.

        Returns:
            str: Its path, whether it is there or not.
        """
        name = hashlib.sha256(f'{self.encoder}\n{prompt}'.encode())
        return osp.join(self.folder, f'{name.hexdigest()[:40]}.safetensors')

    def get(self, prompt: str) -> Optional[Encoded]:
        """A prompt that was encoded before.

        Args:
            prompt (str): The prompt.

        Returns:
            dict[str, Tensor], optional: None if it is not there.
        """
        from safetensors import safe_open
        path = self.path(prompt)
        if not osp.exists(path):
            return None
        try:
            with safe_open(path, 'pt') as file:
                meta = file.metadata()
                encoded = {name: file.get_tensor(name)
                           for name in file.keys()}
        except Exception as error:  # many kinds: truncated, no such format
            print_log(f'{path} cannot be read, and the prompt is encoded '
                      f'again: {error}', 'current', level=30)
            return None
        if meta.get('hash') != _hash(encoded):
            print_log(f'{path} is damaged, and the prompt is encoded again',
                      'current', level=30)
            return None
        return encoded

    def put(self, prompt: str, encoded: Encoded) -> None:
        """Keep an encoded prompt.

        Args:
            prompt (str): The prompt.
            encoded (dict[str, Tensor]): What a denoiser is told of it.

        Raises:
            OSError: If the folder cannot be written to.
        """
        from safetensors.torch import save_file
        os.makedirs(self.folder, exist_ok=True)
        path = self.path(prompt)
        draft = f'{path}.{os.getpid()}'  # complete under its name, or not
        encoded = {name: value.contiguous().clone()
                   for name, value in encoded.items()}
        save_file(encoded, draft, metadata=dict(
            prompt=prompt, encoder=self.encoder, hash=_hash(encoded)))
        os.replace(draft, path)


def _hash(encoded: Encoded) -> str:
    digest = hashlib.sha256()
    for name, value in sorted(encoded.items()):
        digest.update(f'{name} {value.dtype} {tuple(value.shape)}'.encode())
        digest.update(value.float().numpy().tobytes())
    return digest.hexdigest()
