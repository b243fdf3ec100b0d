"""Merge the part masks of CelebAMask-HQ into one mask of class ids an image.

Reads the official folder:
  CelebA-HQ-img/0.jpg ...
  CelebAMask-HQ-mask-anno/{0..14}/00000_hair.png ...
  CelebA-HQ-to-CelebA-mapping.txt
and writes, for CelebA's own splits (24183, 2993 and 2824 images):
  OUT/images/{train,val,test}/0.jpg ...         in the size of the masks
  OUT/annotations/{train,val,test}/0.png ...    0 is background, 1 to 18 parts
Where parts overlap the later one counts, in the official order. What is
finished is not written again, so an interrupted run continues where it was.
Images with a damaged or missing file are left out and listed at the end.
"""
import argparse
import io
import os
from collections import defaultdict
from pathlib import Path
from typing import Dict, List, NamedTuple, Optional, Tuple

import numpy as np
from PIL import Image
from rich.console import Console
from rich.progress import track

PARTS = ('skin', 'nose', 'eye_g', 'l_eye', 'r_eye', 'l_brow', 'r_brow',
         'l_ear', 'r_ear', 'mouth', 'u_lip', 'l_lip', 'hair', 'hat', 'ear_r',
         'neck_l', 'neck', 'cloth')
IMAGES = 'CelebA-HQ-img'
MASKS = 'CelebAMask-HQ-mask-anno'
MAPPING = 'CelebA-HQ-to-CelebA-mapping.txt'
VAL, TEST = 162771, 182638  # CelebA's partition begins there
QUALITY = 95  # of the JPEGs


class Portrait(NamedTuple):
    """One image, and where its masks are."""
    image: Path
    split: str
    masks: Dict[str, Path]  # by part


def parse_args(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        'source', type=Path, help='CelebAMask-HQ, the folder that the '
        'official zip unpacks to')
    parser.add_argument(
        'out', type=Path, help='folder to write images/ and annotations/ into')
    return parser.parse_args(argv)


def split_of(original: int) -> str:
    """CelebA's split of an image.

    Args:
        original (int): Its index in CelebA.

    Returns:
        str: ``'train'``, ``'val'`` or ``'test'``.
    """
    if original < VAL:
        return 'train'
    return 'val' if original < TEST else 'test'


def read_mapping(path: Path) -> Dict[int, str]:
    """The split of each image.

    Args:
        path (Path): The official text file, one line for each image behind
            the names of the columns: index, index in CelebA, file in CelebA.

    Returns:
        dict[int, str]: Split by index.
    """
    splits = {}
    for number, line in enumerate(path.read_text().splitlines(), 1):
        words = line.split()
        if number == 1 or not words:
            continue
        try:
            splits[int(words[0])] = split_of(int(words[1]))
        except (IndexError, ValueError):
            raise SystemExit(f'{path}, line {number}: expected an index and '
                             f'an index in CelebA, got {line!r}')
    return splits


def plan(source: Path) -> Tuple[List[Portrait], List[str]]:
    """What there is to be done.

    Args:
        source (Path): The official folder.

    Returns:
        tuple: The images, and what is wrong with the folder, in words.
    """
    for name in (IMAGES, MASKS, MAPPING):
        if not (source / name).exists():
            raise SystemExit(f'{source} has no {name}: expected the folder '
                             'that the official CelebAMask-HQ.zip unpacks to')
    splits = read_mapping(source / MAPPING)
    masks, problems = defaultdict(dict), []
    for path in sorted((source / MASKS).glob('*/*.png')):
        index, _, part = path.stem.partition('_')
        if index.isdigit() and int(index) in splits and part in PARTS:
            masks[int(index)][part] = path
        else:
            problems.append(f'{path.relative_to(source)}: no mask of the 18 '
                            f'parts of an image that {MAPPING} names')
    portraits = []
    for index, split in splits.items():
        image = source / IMAGES / f'{index}.jpg'
        absent = [what for what, there in (
            ('image', image.is_file()), ('mask', masks.get(index)))
            if not there]
        if absent:
            problems.append(f'{IMAGES}/{index}.jpg: no '
                            f'{" and no ".join(absent)}')
        else:
            portraits.append(Portrait(image, split, masks[index]))
    return portraits, problems


def merge(masks: Dict[str, Path]) -> np.ndarray:
    """One mask of several.

    Args:
        masks (dict[str, Path]): Files of one size by part, 255 inside of it
            and 0 elsewhere.

    Returns:
        np.ndarray: Class ids, uint8, (H, W).

    Raises:
        ValueError: If a file is damaged, or of another size. It is named.
    """
    merged = None
    for label, part in enumerate(PARTS, 1):
        if part not in masks:
            continue
        path = masks[part]
        try:
            mask = np.asarray(Image.open(path).convert('L'))
        except Exception as error:  # PIL has many kinds
            raise ValueError(f'{path.name}: damaged ({error})')
        if merged is None:
            merged = np.zeros(mask.shape, np.uint8)
        if mask.shape != merged.shape:
            raise ValueError(f'{path.name}: {mask.shape[::-1]} pixels, the '
                             f'other parts have {merged.shape[::-1]}')
        merged[mask > 0] = label
    return merged


def convert(portrait: Portrait, out: Path) -> Optional[str]:
    """Write an image and its mask, if they are not there.

    Args:
        portrait (Portrait): The official files.
        out (Path): The folder to write into.

    Returns:
        str, optional: What is wrong with a file, in words.
    """
    name = portrait.image.stem
    image = out / 'images' / portrait.split / f'{name}.jpg'
    annotation = out / 'annotations' / portrait.split / f'{name}.png'
    if image.is_file() and annotation.is_file():
        return None
    try:
        mask = Image.fromarray(merge(portrait.masks))
    except ValueError as error:
        return f'{MASKS}: {error}'
    try:
        pixels = Image.open(portrait.image).convert('RGB')
    except Exception as error:
        return f'{IMAGES}/{portrait.image.name}: damaged ({error})'
    if pixels.size != mask.size:  # 1024 and 512
        pixels = pixels.resize(mask.size, Image.Resampling.LANCZOS)
    save(pixels, image, format='JPEG', quality=QUALITY)
    save(mask, annotation, format='PNG')
    return None


def save(image: Image.Image, target: Path, **options) -> None:
    """Write an image at once: there is no half-written one, ever."""
    content = io.BytesIO()
    image.save(content, **options)
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + '.part')
    part.write_bytes(content.getvalue())
    os.replace(part, target)


def main(argv=None) -> int:
    args = parse_args(argv)
    portraits, problems = plan(args.source)
    counts = dict.fromkeys(('train', 'val', 'test'), 0)
    for portrait in track(portraits, 'images'):
        problem = convert(portrait, args.out)
        if problem:
            problems.append(problem)
        else:
            counts[portrait.split] += 1
    console = Console(soft_wrap=True)
    for problem in problems:
        console.print(problem, markup=False, highlight=False)
    console.print(
        ', '.join(f'{count} {split}' for split, count in counts.items()) +
        f', {len(problems)} problems: {args.out}', highlight=False)
    return 1 if problems else 0


if __name__ == '__main__':
    raise SystemExit(main())
