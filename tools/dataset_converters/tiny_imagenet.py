"""Rewrite Tiny-ImageNet as class folders, train/<class> and val/<class>.

`repfusion_mm.TinyImageNet` reads the official layout as it is; this is for
whoever wants plain folders, for `mmpretrain.CustomDataset` and others. What is
finished is not written again, so an interrupted run continues where it was.
"""
import argparse
import io
import os
import zipfile
from pathlib import Path
from typing import Dict, List, Optional, Tuple

from PIL import Image
from rich.console import Console
from rich.progress import track


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        'source', type=Path, help='tiny-imagenet-200.zip, or the folder that '
        'it unpacks to')
    parser.add_argument(
        'out', type=Path, help='folder to write train/ and val/ into')
    return parser.parse_args(argv)


class Source:
    """The files of the official zip, packed or unpacked.

    Args:
        path (Path): The zip, or a folder.

    Attributes:
        sizes (dict[str, int]): Bytes of each file, by its path below the
            folder that has wnids.txt.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.zip = None
        if path.is_dir():
            sizes = {file.relative_to(path).as_posix(): file.stat().st_size
                     for file in path.rglob('*') if file.is_file()}
        else:
            try:
                self.zip = zipfile.ZipFile(path)
            except (OSError, zipfile.BadZipFile) as error:
                raise SystemExit(f'{path} is no folder, and no zip that can '
                                 f'be read: {error}')
            sizes = {info.filename: info.file_size
                     for info in self.zip.infolist() if not info.is_dir()}
        for name in sizes:
            self.refuse_foreign_path(name)
        roots = [name[:-len('wnids.txt')] for name in sizes
                 if name.split('/')[-1] == 'wnids.txt']
        if not roots:
            raise SystemExit(f'{path} has no wnids.txt: expected the official '
                             'tiny-imagenet-200.zip or its folder')
        self.root = min(roots, key=len)
        self.sizes = {name[len(self.root):]: size
                      for name, size in sizes.items()
                      if name.startswith(self.root)}

    def refuse_foreign_path(self, name: str) -> None:
        """A name of a stranger's that leads out of the folder."""
        parts = name.replace('\\', '/').split('/')
        if '..' in parts or parts[0] in ('', '~') or ':' in parts[0]:
            raise SystemExit(f'{self.path} names {name!r}, which leads out of '
                             'the folder: this is not the official '
                             'tiny-imagenet-200.zip; nothing is written')

    def read(self, name: str) -> bytes:
        """The content of a file."""
        if self.zip is not None:
            return self.zip.read(self.root + name)
        return (self.path / self.root / name).read_bytes()

    def lines(self, name: str) -> List[str]:
        """The lines of a text file that are not empty."""
        if name not in self.sizes:
            raise SystemExit(f'{self.path} has no {self.root}{name}')
        return [line.strip() for line in self.read(name).decode().splitlines()
                if line.strip()]


def plan(source: Source) -> Tuple[Dict[str, str], List[str]]:
    """What goes where.

    Args:
        source (Source): The official files.

    Returns:
        tuple: Path in the source by path below the output, and what is wrong
        with the source, in words.
    """
    ids = source.lines('wnids.txt')
    for one in ids:  # they become folders
        source.refuse_foreign_path(one)
    lines = [line.split('\t')
             for line in source.lines('val/val_annotations.txt')]
    annotations = {line[0]: line[1] for line in lines if len(line) > 1}
    files, problems = {}, []
    for name in sorted(source.sizes):
        parts = name.split('/')
        if not name.endswith('.JPEG') or parts[-2] != 'images':
            continue
        if parts[0] == 'train':
            one = parts[1]
        elif parts[0] == 'val':
            one = annotations.get(parts[-1])
        else:
            continue  # the test images, which have no labels
        if one is None:
            problems.append(f'{name}: no line in val/val_annotations.txt')
        elif one not in ids:
            problems.append(f'{name}: its class {one!r} is not in wnids.txt')
        else:
            files[f'{parts[0]}/{one}/{parts[-1]}'] = name
    problems += [f'val/images/{name}: named by val/val_annotations.txt, but '
                 'absent' for name in annotations
                 if f'val/images/{name}' not in source.sizes]
    found = {tuple(target.split('/')[:2]) for target in files}
    problems += [f'{split}/{one}: a class without images'
                 for split in ('train', 'val') for one in ids
                 if (split, one) not in found]
    return files, problems


def write(source: Source, name: str, target: Path) -> Optional[str]:
    """Write one image, if it is not there.

    Args:
        source (Source): The official files.
        name (str): Of the image in it.
        target (Path): Where it goes.

    Returns:
        str, optional: What is wrong with the image, in words.
    """
    if target.is_file() and target.stat().st_size == source.sizes[name]:
        return None
    try:
        content = source.read(name)
        Image.open(io.BytesIO(content)).load()  # to the last pixel
    except Exception as error:  # zipfile and PIL have many kinds
        return f'{name}: damaged ({error})'
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + '.part')
    part.write_bytes(content)
    os.replace(part, target)  # there is no half-written image, ever
    return None


def main(argv=None) -> int:
    args = parse_args(argv)
    source = Source(args.source)
    files, problems = plan(source)
    for target, name in track(files.items(), 'images', total=len(files)):
        problem = write(source, name, args.out / target)
        if problem:
            problems.append(problem)
    console = Console(soft_wrap=True)
    for problem in problems:
        console.print(problem, markup=False, highlight=False)
    console.print(
        f'{len(files)} images of the source, {len(problems)} problems: '
        f'{args.out}', highlight=False)
    return 1 if problems else 0


if __name__ == '__main__':
    raise SystemExit(main())
