"""A small data set whose images are decoded once, and kept."""
import logging
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Dict, List, Optional, Set, Tuple

from mmengine.dataset import BaseDataset
from mmengine.logging import print_log

from repfusion_mm.arguments.annotations import Count
from repfusion_mm.registry import DATASETS

from ..models.utils.building import build_dataset
from ..models.utils.dataset_wrappers import inside

UNREADABLE = 'unreadable'  # a mark in an annotation


@DATASETS.register_module(name='CachedImages')
def cached_images(dataset: dict, num_transforms: Count = 1) -> BaseDataset:
    """A data set that runs the first transforms of its pipeline only once.

    They run on all images when the data set is built; what comes out becomes
    a part of each annotation, which is kept in memory and is shared by forked
    workers, and the rest of the pipeline goes on from there. The data set is
    of its own class, so that it can be wrapped as ever. If it is a wrapper,
    the data sets inside are those whose images are kept, as far as they are
    drawn. Where an image cannot be read another one is drawn, as ever.

    Args:
        dataset (dict): Any data set of the three libraries, with a pipeline.
        num_transforms (int): How many of its transforms are run once: those
            that give the same for an image each time. Defaults to 1, which
            reads and decodes it.

    Returns:
        BaseDataset: The data set.

    Raises:
        ValueError: If there are not so many transforms, one of them is random
            by its name or packs what is given to the model, or the data set
            does not keep its annotations as MMEngine's do.

    Example:
        >>> dataset = dict(
        ...     type='repfusion_mm.CachedImages',
        ...     dataset=dict(
        ...         type='mmpretrain.CustomDataset',
        ...         data_root='data/my_images/train',
        ...         pipeline=[
        ...             dict(type='LoadImageFromFile'),
        ...             dict(type='RandomFlip', prob=0.5),
        ...             dict(type='PackInputs')]))
    """
    built: Any = build_dataset('dataset', dataset)
    if hasattr(built, 'full_init'):
        built.full_init()
    leaves: Dict[int, Tuple[Any, Set[int]]] = {}
    for image in range(len(built)):
        leaf, index = built, image
        while True:
            step = inside(leaf, index)
            if step is None:
                break
            leaf, index = step
        leaves.setdefault(id(leaf), (leaf, set()))[1].add(index)
    for leaf, _ in leaves.values():
        _check(leaf, num_transforms)
    for leaf, images in leaves.values():
        _keep(leaf, sorted(images), num_transforms)
    return built


def _check(leaf: BaseDataset, num_transforms: int) -> None:
    kept = 'data_address' if getattr(leaf, 'serialize_data', False) else \
        'data_list'
    if not isinstance(leaf, BaseDataset) or \
            len(leaf) != len(getattr(leaf, kept, ())):
        raise ValueError(
            f'`dataset.dataset` is or holds a {type(leaf).__name__}, which '
            'keeps no annotations as data sets of MMEngine do; put '
            'CachedImages around what it is made of')
    names = [type(one).__name__ for one in leaf.pipeline.transforms]
    if not 1 <= num_transforms <= len(names):
        raise ValueError(f'`dataset.num_transforms` is {num_transforms}, '
                         f'expected 1 to {len(names)}, of {names}')
    for name in names[:num_transforms]:
        if 'Random' in name or name.startswith('Pack'):
            raise ValueError(
                f'`dataset.num_transforms` is {num_transforms}, but {name} '
                + ('packs the image with its label' if 'Pack' in name else
                   'gives another image each time')
                + f'; it may be at most {names.index(name)}, of {names}')


def _keep(leaf: BaseDataset, images: List[int], num_transforms: int) -> None:
    """Puts what the first transforms give into the annotations."""
    transforms = leaf.pipeline.transforms
    # some libraries add to an annotation when they are asked for it
    infos = [BaseDataset.get_data_info(leaf, i) for i in range(len(leaf))]

    def run(image: int) -> Optional[dict]:
        info = leaf.get_data_info(image)
        sample, added = info.copy(), info.keys() - infos[image].keys()
        for transform in transforms[:num_transforms]:
            sample = transform(sample)
            if sample is None:
                return None
        return {key: sample[key] for key in sample if key not in added}

    with ThreadPoolExecutor() as threads:
        samples = list(threads.map(run, images))
    broken = [infos[image].get('img_path') for image, sample
              in zip(images, samples) if sample is None]
    for image, sample in zip(images, samples):
        infos[image] = sample or {**infos[image], UNREADABLE: True}
    for info in infos:
        del info['sample_idx']
    size = sum(value.nbytes for info in infos for value in info.values()
               if hasattr(value, 'nbytes')) / 2**20
    # as a list: serialised, all of it would be there three times for a while
    leaf.serialize_data, leaf.data_list = False, infos
    leaf.pipeline.transforms = transforms[num_transforms:]
    print_log(f'{len(images) - len(broken)} decoded images are kept in '
              f'{size:.0f} MiB of memory', 'current')
    if broken:
        leaf.pipeline.transforms.insert(0, _skip_unreadable)
        print_log(f'{len(broken)} images cannot be read, for example '
                  f'{broken[:3]}; others are drawn instead', 'current',
                  logging.WARNING)


def _skip_unreadable(info: dict) -> Optional[dict]:
    """The first step of a pipeline: MMEngine draws another image for None."""
    return None if UNREADABLE in info else info
