"""Looks through the images of a data set for those that cannot be used."""
import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import (
    Any,
    Callable,
    Dict,
    Iterable,
    Iterator,
    List,
    NamedTuple,
    Optional,
    Sequence,
)

from ..models.utils.dataset_wrappers import innermost, wrapped
from .transforms.bad_image_error import BadImageError
from .transforms.checked import Checked
from .transforms.decoding import MAX_PIXELS, decode, read_file
from .transforms.load_checked_mask import check_mask

# of mmpretrain's CustomDataset
EXTENSIONS = ('.jpg', '.jpeg', '.png', '.ppm', '.bmp', '.pgm', '.tif')


class BadImage(NamedTuple):
    """A file, and what is wrong with it.

    Attributes:
        path (str): Of the file.
        kind (str): The reason in a word or two.
        reason (str): In words that follow its name.
    """
    path: str
    kind: str
    reason: str


def check_files(infos: Sequence[dict],
                num_threads: int,
                max_pixels: int = MAX_PIXELS,
                track: Callable = iter) -> List[BadImage]:
    """Read each file once.

    Args:
        infos (Sequence[dict]): Annotations, with ``img_path``, and maybe
            ``seg_map_path``. Others are passed over.
        num_threads (int): That read at the same time.
        max_pixels (int): An image of more is bad.
        track (Callable): Shows how far an iterable is. Defaults to none.

    Returns:
        list[BadImage]: In their order.
    """

    def check(info: dict) -> Optional[BadImage]:
        path = info['img_path']
        try:
            shape = decode(read_file(path), max_pixels).shape[:2]
            if info.get('seg_map_path'):
                path = info['seg_map_path']
                content = read_file(path)
                check_mask(content, shape)
                decode(content)
        except BadImageError as error:
            return BadImage(path, error.kind, str(error))
        return None

    infos = [info for info in infos if info.get('img_path')]
    num_threads = max(num_threads, 1)  # a loader may have no workers
    with ThreadPoolExecutor(num_threads) as threads:
        found = _in_order(threads, check, infos, 16 * num_threads)
        return [bad for bad in track(found) if bad is not None]


def annotations(dataset: Any, indices: Iterable[int]) -> List[dict]:
    """Annotations of images, each file once.

    Args:
        dataset: A data set, or a wrapper of some.
        indices (Iterable[int]): Of images in it.

    Returns:
        list[dict]: Of images that are read from a file.
    """
    found: Dict[tuple, dict] = {}
    for index in indices:
        leaf, number = innermost(dataset, index)
        if not hasattr(leaf, 'get_data_info'):
            continue
        info = leaf.get_data_info(number)
        names = tuple(info.get(key) for key in ('img_path', 'seg_map_path'))
        if names[0] and info.get('img') is None:  # not of CachedImages
            found.setdefault(names, dict(img_path=names[0],
                                         seg_map_path=names[1]))
    return list(found.values())


def folder_files(folder: str) -> tuple:
    """The images of a folder, by their extension, and all other files.

    Args:
        folder (str): With any folders inside.

    Returns:
        tuple: Annotations, and a list of paths.
    """
    paths, seen = [], set()
    for root, folders, names in os.walk(folder, followlinks=True):
        place = os.path.realpath(root)
        if place in seen:  # a link to a folder above, or beside
            folders.clear()
            continue
        seen.add(place)
        paths += [os.path.join(root, name) for name in names]
    images, others = [], []
    for path in sorted(paths):
        if path.lower().endswith(EXTENSIONS):
            images.append(dict(img_path=path))
        else:
            others.append(path)
    return images, others


def passed_over(dataset: Any) -> List[str]:
    """Files beside the images of mmpretrain's folders, which it leaves out.

    Args:
        dataset: A data set, or a wrapper of some.

    Returns:
        list[str]: Those whose extension is not among ``extensions``, or that
        are in no class's folder.
    """
    found: Dict[str, None] = {}
    for one in wrapped(dataset):
        found.update(dict.fromkeys(passed_over(one)))
    if hasattr(dataset, 'extensions') and not dataset.ann_file:
        for root, _, names in os.walk(dataset.img_prefix, followlinks=True):
            of_no_class = dataset.with_label and os.path.samefile(
                root, dataset.img_prefix)
            found.update((os.path.join(root, name), None)
                         for name in sorted(names) if of_no_class or
                         not dataset.is_valid_file(name))
    return list(found)


def by_extension(paths: Sequence[str]) -> str:
    """How many files there are of each extension, for a reader.

    Args:
        paths (Sequence[str]): Of the files.

    Returns:
        str: Such as ``'3 .webp, 1 without'``.
    """
    kinds = Counter(os.path.splitext(path)[1].lower() or 'without'
                    for path in paths)
    return ', '.join(f'{number} {kind}' for kind, number
                     in kinds.most_common())


def checked_steps(dataset: Any) -> List[Checked]:
    """The steps of all pipelines in a data set that look for bad images.

    Args:
        dataset: A data set, or a wrapper of some.

    Returns:
        list[Checked]: Each of them once.
    """
    steps = getattr(getattr(dataset, 'pipeline', None), 'transforms', [])
    found = {id(step): step for step in steps if isinstance(step, Checked)}
    for one in wrapped(dataset):
        found.update((id(step), step) for step in checked_steps(one))
    return list(found.values())


def counted(bad: Iterable[BadImage]) -> str:
    """How many there are of each kind, for a reader.

    Args:
        bad (Iterable[BadImage]): Bad images.

    Returns:
        str: Such as ``'3 truncated, 1 empty'``.
    """
    kinds = Counter(sorted(one.kind for one in bad))
    return ', '.join(f'{number} {kind}' for kind, number
                     in kinds.most_common())


def _in_order(threads: ThreadPoolExecutor, function: Callable,
              values: Sequence[Any], ahead: int) -> Iterator[Any]:
    """``threads.map`` of ten million, of which only some wait."""
    for start in range(0, len(values), ahead):
        yield from threads.map(function, values[start:start + ahead])
