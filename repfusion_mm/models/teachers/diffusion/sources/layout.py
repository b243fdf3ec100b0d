"""What a diffusers folder holds, and of which classes."""
import os.path as osp
from dataclasses import dataclass
from typing import Any, Iterator, Optional

from .files import Files, find_denoiser, has, read_json
from .pixel_pipeline import AUTOENCODERS, pipeline_index

DENOISERS = ('unet', 'transformer')  # names of the part, in a pipeline


@dataclass(frozen=True)
class Layout:
    """A denoiser's folder, opened.

    Attributes:
        pretrained (str): What the config names.
        files (Files): Of the pipeline.
        prefix (str): Of the denoiser's files in it.
        index (dict): The pipeline's ``model_index.json``.
        config (dict): The denoiser's ``config.json``.
        variant (str, optional): Of the weights.
        revision (str, optional): On the hub.
        single_file (str, optional): Where the weights are, if not there.
    """
    pretrained: str
    files: Files
    prefix: str
    index: dict
    config: dict
    variant: Optional[str] = None
    revision: Optional[str] = None
    single_file: Optional[str] = None

    @property
    def class_name(self) -> str:
        """Of the denoiser, in diffusers."""
        return str(self.config.get('_class_name'))

    @property
    def autoencoder(self) -> Optional[str]:
        """Name of the part that makes latents, if there is one."""
        return next((name for name in AUTOENCODERS
                     if has(self.files, f'{name}/config.json')), None)

    def part_class(self, name: str) -> Optional[str]:
        """The class of one of the pipeline's parts.

        Args:
            name (str): Such as ``'scheduler'``.

        Returns:
            str, optional: None if it has no such part.
        """
        part = self.index.get(name)
        if isinstance(part, (list, tuple)) and part[1]:
            return str(part[1])
        for file in (f'{name}/config.json', f'{name}/{name}_config.json'):
            if has(self.files, file):
                return read_json(self.files, file).get('_class_name')
        return None

    def keys(self) -> Iterator[str]:
        """What a family may be registered for, the most special first.

        Yields:
            str: The pipeline's class; the denoiser's together with the class
            of its autoencoder or scheduler, or with what it is told beside
            text; and the denoiser's alone.
        """
        if '_class_name' in self.index:
            yield self.index['_class_name']
        for part in (self.autoencoder, 'scheduler'):
            if part and self.part_class(part):
                yield f'{self.class_name}+{self.part_class(part)}'
        if self.config.get('addition_embed_type'):
            yield f'{self.class_name}+{self.config["addition_embed_type"]}'
        yield self.class_name


def open_layout(pretrained: str, revision: Optional[str] = None,
                variant: Optional[str] = None,
                config: Optional[str] = None) -> Layout:
    """Open the folder that a config names.

    Args:
        pretrained (str): Folder or hub id, or a single file of weights.
        revision (str, optional): Branch, tag or commit on the hub.
        variant (str, optional): Of the weights.
        config (str, optional): Folder or hub id of the configs, beside a
            single file.

    Returns:
        Layout: What it holds.

    Raises:
        OSError: If it is not there, or cannot be read.
        ValueError: If it has no denoiser, or is a single file without
            configs.
    """
    single = pretrained if osp.isfile(pretrained) else None
    if single and not single.endswith('.safetensors'):
        raise ValueError(f'`teacher.pretrained` is the file {single!r}; of '
                         'single files, `.safetensors` are read')
    if bool(single) != bool(config):
        raise ValueError(
            f'`teacher.config` is {config!r} beside `teacher.pretrained`, '
            f'{pretrained!r}: a single file of weights needs it, the folder '
            'or hub id of a pipeline of the same kind, whose configs are '
            'read, and nothing else takes it')
    files, prefix = find_denoiser(config or pretrained, revision, DENOISERS)
    index = pipeline_index(files)
    for part in (*AUTOENCODERS, 'scheduler'):
        name = f'{part}/config.json' if part != 'scheduler' else \
            'scheduler/scheduler_config.json'
        if (index.get(part) or [None])[0] and not has(files, name):
            raise FileNotFoundError(
                f'{files.where!r} is a {index.get("_class_name")} with a '
                f'{part!r}, but {name!r} is not there: it was not fetched to '
                'its end')
    return Layout(pretrained, files, prefix, index,
                  read_json(files, f'{prefix}config.json'), variant, revision,
                  single)


def diffusers_class(name: str, who: str) -> Any:
    """A class of the diffusers that is installed.

    Args:
        name (str): Of the class.
        who (str): What has it, for the error message: a name and a space.

    Returns:
        type: The class.

    Raises:
        ValueError: If this diffusers does not have it.
    """
    import diffusers
    cls = getattr(diffusers, name, None)
    if cls is None:
        raise ValueError(
            f'{who}is a {name}, which diffusers {diffusers.__version__}, '
            'the one that is installed, does not have; a newer one may')
    return cls
