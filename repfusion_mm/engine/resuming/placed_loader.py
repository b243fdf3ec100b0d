"""The loader of a training, so that it can begin anywhere."""
from functools import partial
from typing import Any, Callable, Optional

from mmengine.registry import DATA_SAMPLERS
from torch.utils.data import DataLoader

from .placed_batches import PlacedBatches
from .seeding import SeededItems
from .stop_signal import heed_parent_alone

# of a dataloader's config, what MMEngine does not hand to torch's
BUILT = ('dataset', 'sampler', 'batch_sampler', 'collate_fn',
         'worker_init_fn', 'num_batch_per_epoch',
         'disable_subprocess_warning')


def placed_loader(cfg: dict, loader: DataLoader, seed: int) -> DataLoader:
    """The same loader over the same data set, whose batches have places.

    The order is the one that it would have had, from its beginning on, also
    where the loader that is given has drawn from its sampler already.

    Args:
        cfg (dict): ``train_dataloader``.
        loader (DataLoader): What MMEngine has built of it.
        seed (int): Of the order, and of each image's random numbers.

    Returns:
        DataLoader: Its ``batch_sampler`` is a :class:`PlacedBatches`.
    """
    options: dict = {key: value for key, value in cfg.items()
                     if key not in BUILT}
    dataset: Any = loader.dataset
    sampler = DATA_SAMPLERS.build({**cfg['sampler'], 'seed': seed},
                                  default_args=dict(dataset=dataset))
    if cfg.get('batch_sampler') is None:
        options['sampler'] = sampler
    else:
        options['batch_sampler'] = DATA_SAMPLERS.build(
            dict(cfg['batch_sampler']), default_args=dict(
                sampler=sampler, batch_size=options.pop('batch_size')))
    placed = DataLoader(
        dataset, collate_fn=loader.collate_fn,
        worker_init_fn=partial(_begin_worker, loader.worker_init_fn),
        **options)
    # past torch's guard, so that `batch_size` and `sampler` stay what they are
    vars(placed)['batch_sampler'] = PlacedBatches(placed.batch_sampler, seed)
    if not isinstance(getattr(dataset, '__getitems__', None), SeededItems):
        dataset.__getitems__ = SeededItems(dataset)
    return placed


def can_be_placed(cfg: Any, loader: Any) -> bool:
    """Whether :func:`placed_loader` knows how.

    Args:
        cfg (dict): ``train_dataloader``.
        loader (DataLoader): What MMEngine has built of it.

    Returns:
        bool: Not so for a loader that was handed over built, a stream, a list,
        or images that are not batched by a sampler.
    """
    return isinstance(cfg, dict) and isinstance(cfg.get('sampler'), dict) \
        and hasattr(loader.dataset, '__getitem__') \
        and hasattr(loader.dataset, '__dict__') \
        and getattr(loader.batch_sampler, 'sampler', None) is not None


def _begin_worker(init: Optional[Callable], worker_id: int) -> None:
    if init is not None:
        init(worker_id)
    heed_parent_alone()
