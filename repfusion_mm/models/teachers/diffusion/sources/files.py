"""The files of a diffusers folder or of a repository on the hub."""
import json
import os
import os.path as osp
import re
from typing import List, Optional, Sequence, Tuple, Union

# a folder in huggingface_hub's cache
SNAPSHOT = re.compile(r'/models--([^/]+)/snapshots/([0-9a-f]{40})$')


class Folder:
    """The files of a folder.

    Args:
        where (str): Its path.
    """

    def __init__(self, where: str) -> None:
        self.where = where

    @property
    def commit(self) -> Optional[str]:
        """Id and commit on the hub, of what was fetched from there."""
        found = SNAPSHOT.search(osp.abspath(self.where).replace(os.sep, '/'))
        return found and f'{found[1].replace("--", "/")}@{found[2]}'

    def inside(self, prefix: str) -> List[str]:
        """Names of the files that lie directly in a subfolder.

        Args:
            prefix (str): Such as ``'unet/'``; ``''`` is the folder itself.

        Returns:
            list[str]: Empty if there is no such subfolder.
        """
        folder = osp.join(self.where, prefix)
        return [name for name in sorted(os.listdir(folder))
                if osp.isfile(osp.join(folder, name))] \
            if osp.isdir(folder) else []

    def path(self, name: str) -> str:
        """Where a file is on the disk.

        Args:
            name (str): Such as ``'unet/config.json'``.

        Returns:
            str: Its path.
        """
        return osp.join(self.where, name)


class HubRepository:
    """The files of a repository on the hub, fetched when they are needed.

    Args:
        where (str): Its id.
        revision (str, optional): Branch, tag or commit.
    """

    def __init__(self, where: str, revision: Optional[str]) -> None:
        from huggingface_hub import HfApi
        info = HfApi().model_info(where, revision=revision, timeout=10)
        self.where = where
        self._commit = info.sha  # the same for all of its files
        self.commit = f'{where}@{info.sha}'
        self._names = [file.rfilename for file in info.siblings or []]

    def inside(self, prefix: str) -> List[str]:
        """As :meth:`Folder.inside`."""
        return sorted(
            name[len(prefix):] for name in self._names
            if name.startswith(prefix) and '/' not in name[len(prefix):])

    def path(self, name: str) -> str:
        """As :meth:`Folder.path`; it is fetched if it is not there."""
        from huggingface_hub import hf_hub_download
        return hf_hub_download(self.where, name, revision=self._commit)


Files = Union[Folder, HubRepository]


def has(files: Files, name: str) -> bool:
    """Whether there is such a file.

    Args:
        files (Files): Of a folder or of the hub.
        name (str): Such as ``'unet/config.json'``.

    Returns:
        bool: True if there is.
    """
    folder, _, name = name.rpartition('/')
    return name in files.inside(folder and f'{folder}/')


def read_json(files: Files, name: str) -> dict:
    """What a JSON file says.

    Args:
        files (Files): Of a folder or of the hub.
        name (str): The file.

    Returns:
        dict: Its contents.

    Raises:
        OSError: If it cannot be fetched, or is damaged.
    """
    try:
        with open(files.path(name), encoding='utf-8') as file:
            return dict(json.load(file))
    except Exception as error:  # many kinds: no network, no JSON, no dict
        raise OSError(f'{name!r} of `teacher.pretrained`, {files.where!r}, '
                      f'cannot be read: {error}') from error


def find_denoiser(pretrained: str,
                  revision: Optional[str] = None,
                  parts: Sequence[str] = ('unet', )) -> Tuple[Files, str]:
    """The denoiser that a config names, and the pipeline around it.

    Args:
        pretrained (str): Folder or hub id of a pipeline or of a bare model;
            also a pipeline's subfolder, whose scheduler is then found beside
            it.
        revision (str, optional): Branch, tag or commit on the hub.
        parts (Sequence[str]): What a pipeline calls its denoiser. Defaults to
            ``('unet', )``.

    Returns:
        tuple: The files of the pipeline, and the prefix of those of the
        denoiser, such as ``'unet/'``, or ``''``.

    Raises:
        FileNotFoundError: If there is no such folder or hub id, or nothing
            of diffusers in it.
        ValueError: If it is a pipeline without a denoiser, or ``revision`` is
            said of a folder.
    """
    files = _open(pretrained, revision)
    for part in parts:
        if has(files, f'{part}/config.json'):
            return files, f'{part}/'
    if has(files, 'config.json'):
        around, prefix = _pipeline_around(files, parts)
        return (around, prefix) if around else (files, '')
    if has(files, 'model_index.json'):
        index = read_json(files, 'model_index.json')
        found = [name for name in index if name[0] != '_']
        for part in parts:
            if index.get(part) and found:
                raise FileNotFoundError(
                    f'`teacher.pretrained` is {pretrained!r}, a '
                    f'{index.get("_class_name")} with a {part!r}, but '
                    f'\'{part}/config.json\' is not there: it was not '
                    'fetched to its end')
        raise ValueError(
            f'`teacher.pretrained` is {pretrained!r}, a '
            f'{index.get("_class_name")} of {found}; '
            f'{"UNetTeacher" if len(parts) == 1 else "DiffusionTeacher"} '
            'takes a pipeline with a '
            f'{" or ".join(f"`{part}`" for part in parts)}')
    raise FileNotFoundError(
        f'`teacher.pretrained` is {pretrained!r}, which has no diffusers '
        'denoiser (`config.json`, or `unet/config.json`)')


def _open(pretrained: str, revision: Optional[str]) -> Files:
    if osp.isdir(pretrained):
        if revision is not None:
            raise ValueError(
                f'`teacher.revision` is {revision!r}, but '
                f'`teacher.pretrained`, {pretrained!r}, is a folder, and only '
                'the hub has revisions; leave it out')
        return Folder(pretrained)
    try:
        return HubRepository(pretrained, revision)
    except Exception as error:  # many kinds: no network, no such repository
        reason = error
    from huggingface_hub import snapshot_download
    try:  # what was fetched before
        return Folder(snapshot_download(
            pretrained, revision=revision, local_files_only=True))
    except Exception:
        raise FileNotFoundError(
            f'`teacher.pretrained` is {pretrained!r}, which is neither a '
            'folder nor the id (`owner/name`) of a repository on the hub '
            f'that can be read: {reason}') from reason


def _pipeline_around(files: Files, parts: Sequence[str]
                     ) -> Tuple[Optional[Files], str]:
    """The pipeline that a bare model's folder is part of, if it is."""
    if not isinstance(files, Folder) or has(files, 'model_index.json'):
        return None, ''
    parent, name = osp.split(osp.realpath(files.where))
    around = Folder(parent)
    if name in parts or (has(around, 'model_index.json') and
                          name in read_json(around, 'model_index.json')):
        return around, f'{name}/'
    return None, ''
