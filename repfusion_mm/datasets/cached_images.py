"""A small data set whose images are decoded once, and kept."""
import copy
from concurrent.futures import ThreadPoolExecutor
from typing import Callable, List, Sequence

from mmengine.dataset import BaseDataset
from mmengine.logging import print_log

from repfusion_mm.registry import DATASETS


@DATASETS.register_module(name='CachedImages')
def cached_images(dataset: dict, num_transforms: int = 1) -> BaseDataset:
    """A data set that runs the first transforms of its pipeline only once.

    They run on all images when the data set is built; what comes out is kept
    in memory, which forked workers share, and the rest of the pipeline goes
    on from a copy. The data set is of its own class, so that it can be
    wrapped as ever.

    Args:
        dataset (dict): Any data set of the three libraries, with a pipeline.
        num_transforms (int): How many of its transforms are run once: those
            that give the same for an image each time. Defaults to 1, which
            reads and decodes it.

    Returns:
        BaseDataset: The data set.

    Raises:
        ValueError: If there are not so many transforms, or one of them is
            random by its name.

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
    built = DATASETS.build(dataset)
    transforms = built.pipeline.transforms
    once = transforms[:num_transforms]
    names = [type(transform).__name__ for transform in transforms]
    if not 1 <= num_transforms <= len(transforms):
        raise ValueError(f'`dataset.num_transforms` is {num_transforms}, '
                         f'expected 1 to {len(transforms)}, of {names}')
    for name in names[:num_transforms]:
        if 'Random' in name:
            raise ValueError(
                f'`dataset.num_transforms` is {num_transforms}, but {name} '
                'gives another image each time; it may be at most '
                f'{names.index(name)}, of {names}')
    built.full_init()
    built.get_data_info = _Cache(built.get_data_info, once, len(built))
    built.pipeline.transforms = transforms[num_transforms:]
    return built


class _Cache:
    """What some transforms make of each sample; a copy for each call."""

    def __init__(self, get_data_info: Callable, transforms: Sequence[Callable],
                 length: int) -> None:

        def run(index: int) -> dict:
            sample = get_data_info(index)
            for transform in transforms:
                sample = transform(sample)
            return sample

        with ThreadPoolExecutor() as threads:
            self._samples: List[dict] = list(threads.map(run, range(length)))
        size = sum(sample['img'].nbytes for sample in self._samples) / 2**20
        print_log(f'{length} decoded images are kept in {size:.0f} MiB of '
                  'memory', 'current')

    def __call__(self, index: int) -> dict:
        return copy.deepcopy(self._samples[index])
