"""The text encoders of a pipeline, there while a prompt is encoded."""
import hashlib
import os.path as osp
from typing import Any, Dict, Sequence, Tuple

import torch

from ..sources.files import Files, read_json

SAMPLES, SAMPLE = 16, 2**16  # of a file of weights: they tell it from others
WEIGHTS = ('.safetensors', '.bin')


class TextEncoders:
    """Tokenizers and text encoders beside a denoiser.

    Args:
        files (Files): Of the pipeline.
        index (dict): Its ``model_index.json``.
        suffixes (Sequence[str]): Of the names of the parts: ``''`` is
            ``tokenizer`` and ``text_encoder``, ``'_2'`` the second of both.
    """

    def __init__(self, files: Files, index: dict,
                 suffixes: Sequence[str] = ('', )) -> None:
        self.files, self.index, self.suffixes = files, index, suffixes
        self._read: Dict[str, Tuple[Any, Any]] = {}

    def __enter__(self) -> 'TextEncoders':
        return self

    def __exit__(self, *_: Any) -> None:
        self._read.clear()

    @property
    def identity(self) -> str:
        """What tells them, and their tokenizers, from others: a hash.

        It takes no time: of the hub's it is the commit, and nothing needs to
        have been fetched; of a folder's weights, samples are read.
        """
        if self.files.commit is not None:
            return hashlib.sha256(self.files.commit.encode()).hexdigest()
        digest = hashlib.sha256()
        for suffix in self.suffixes:
            for part in (f'tokenizer{suffix}/', f'text_encoder{suffix}/'):
                names = self._names(part)
                if not names:
                    raise FileNotFoundError(
                        f'`teacher.pretrained`, {self.files.where!r}, has no '
                        f'{part!r}, by which a prompt is encoded')
                for name in names:
                    digest.update(f'{part}{name}\n'.encode())
                    digest.update(_sample(self.files.path(part + name)))
        return digest.hexdigest()

    def read(self, suffix: str = '', dtype: torch.dtype = torch.float32
             ) -> Tuple[Any, Any]:
        """One of them, kept until the ``with`` around is left.

        Args:
            suffix (str): Which. Defaults to ``''``.
            dtype (torch.dtype): Of its weights. Defaults to float32.

        Returns:
            tuple: A tokenizer and a text encoder of transformers.

        Raises:
            ImportError: If transformers is not there.
            OSError: If they cannot be read.
        """
        if suffix in self._read:
            return self._read[suffix]
        transformers = _transformers()
        found = []
        for part in (f'tokenizer{suffix}', f'text_encoder{suffix}'):
            names = self._names(f'{part}/')
            paths = [self.files.path(f'{part}/{name}') for name in names]
            kind = (self.index.get(part) or [None, None])[1] or (
                'AutoTokenizer' if part.startswith('tokenizer') else
                self._architecture(part))
            options: Dict[str, Any] = {} \
                if part.startswith('tokenizer') else dict(torch_dtype=dtype)
            if any('.fp16.' in name for name in names) and options and \
                    not any(name in names for name in (
                        'model.safetensors', 'pytorch_model.bin')):
                options['variant'] = 'fp16'
            try:
                found.append(getattr(transformers, kind).from_pretrained(
                    osp.dirname(paths[0]), local_files_only=True, **options))
            except Exception as error:  # many kinds
                raise OSError(
                    f'{part!r} of `teacher.pretrained`, '
                    f'{self.files.where!r}, cannot be read: {error}'
                ) from error
        self._read[suffix] = found[0], found[1].eval()
        return self._read[suffix]

    def _architecture(self, part: str) -> str:
        return read_json(self.files, f'{part}/config.json')[
            'architectures'][0]

    def _names(self, part: str) -> list:
        """Files of a part; of several kinds of weights one."""
        names = self.files.inside(part)
        kinds = [[name for name in names if name.endswith(kind)]
                 for kind in WEIGHTS]
        weights = [name for kind in kinds for name in kind]
        plain = [name for name in weights if '.fp16.' not in name] or weights
        safe = [name for name in plain if name.endswith('.safetensors')]
        kept = safe or plain
        return [name for name in names
                if name in kept or not name.endswith(
                    (*WEIGHTS, '.msgpack', '.h5', '.onnx', '.onnx_data'))]


def _sample(path: str) -> bytes:
    """A hash of a file, of some of it if it is long."""
    size = osp.getsize(path)
    digest = hashlib.sha256(str(size).encode())
    with open(path, 'rb') as file:
        if size <= SAMPLES * SAMPLE:
            digest.update(file.read())
        else:
            for index in range(SAMPLES):
                file.seek((size - SAMPLE) * index // (SAMPLES - 1))
                digest.update(file.read(SAMPLE))
    return digest.digest()


def _transformers() -> Any:
    try:
        import transformers
    except ImportError as error:
        raise ImportError(
            'a prompt that is not stored yet is encoded by `transformers`, '
            'which cannot be imported: encode it once, in an environment that '
            'has it (requirements/text.txt), by `python '
            'tools/model_converters/encode_conditions.py CONFIG`; after that '
            'it is not needed') from error
    return transformers
