"""A loader that begins anywhere, and is otherwise the one that it was."""
import pickle
from collections import Counter

import numpy as np
import pytest
import torch
from mmengine.dataset import DefaultSampler, InfiniteSampler
from mmengine.registry import DATA_SAMPLERS
from mmengine.runner import Runner
from torch.utils.data import BatchSampler

from repfusion_mm.engine.resuming import placed_batches
from repfusion_mm.engine.resuming.placed_batches import EndlessBatches
from repfusion_mm.engine.resuming.placed_loader import (
    can_be_placed,
    placed_loader,
)


class Numbers:
    """A data set of its own indices, with noise."""

    def __len__(self):
        return 22

    def __getitem__(self, index):
        return index, float(np.random.random()), float(torch.rand(1))


def pairs(batch):
    return [tuple(item) for item in batch]


@DATA_SAMPLERS.register_module()
class Reversed(BatchSampler):
    """Another batch sampler, whose batches have different sizes."""

    def __iter__(self):
        for number, batch in enumerate(super().__iter__()):
            yield batch[::-1][number % 2:]


@pytest.fixture
def make():

    def make(sampler='DefaultSampler', seed=5, **options):
        cfg = dict(sampler=dict(type=sampler, shuffle=True), batch_size=4,
                   collate_fn=dict(type=pairs), num_workers=0, **options)
        loader = Runner.build_dataloader(dict(cfg, dataset=Numbers()), seed)
        if sampler == 'InfiniteSampler':  # MMEngine 0.10.7 draws ahead
            next(iter(loader))
        return placed_loader(cfg, loader, seed)

    return make


def indices(batches):
    return [[index for index, *_ in batch] for batch in batches]


@pytest.mark.parametrize('options', [
    {}, dict(drop_last=True), dict(batch_sampler=dict(
        type='Reversed', drop_last=False))])
@pytest.mark.parametrize('skip', [0, 1, 3, 5, 6])
def test_rest_of_an_epoch(make, options, skip):
    loader = make(**options)
    whole = list(loader)
    assert len(loader) == (5 if 'drop_last' in options else 6)
    loader.batch_sampler.skip = skip
    assert list(loader) == whole[skip:]
    assert list(loader) == whole  # only once


def test_order_is_mmengines(make):
    loader = make()
    plain = DefaultSampler(Numbers(), seed=5)
    for epoch in (0, 3):
        loader.sampler.set_epoch(epoch)
        plain.set_epoch(epoch)
        assert sum(indices(loader), []) == list(plain)
    assert loader.batch_size == 4 and loader.sampler.seed == 5
    assert len(loader) == 6


@pytest.mark.parametrize('skip', [0, 5, 100])
def test_endless_order(make, skip):
    """It begins where it is to, whatever was drawn from the sampler."""
    loader = make('InfiniteSampler')
    loader.batch_sampler.skip = skip
    batches = EndlessBatches(loader, in_vain=0)
    batches.skip_iter(skip)
    plain = iter(InfiniteSampler(Numbers(), seed=5))
    wanted = [[next(plain) for _ in range(4)] for _ in range(skip + 9)]
    assert indices(next(batches) for _ in range(9)) == wanted[skip:]


def test_batches_drawn_in_vain_are_not_loaded(make, monkeypatch):
    """By the loop of MMEngine 0.10.7."""
    loader = make('InfiniteSampler')
    loader.batch_sampler.skip = 50
    loaded = []
    monkeypatch.setattr(Numbers, '__getitem__',
                        lambda self, index: loaded.append(index) or (index, ))
    batches = EndlessBatches(loader, in_vain=50)
    assert [next(batches) for _ in range(50)] == [None] * 50
    assert not loaded
    next(batches)
    assert len(loaded) == 4


def test_passes_of_an_order_that_ends(make):
    loader = make()
    batches = EndlessBatches(loader, in_vain=0)
    whole = [next(batches) for _ in range(18)]
    assert all(count == 3 for count in Counter(
        sum(indices(whole), [])).values())
    assert indices(whole[:6]) != indices(whole[6:12])
    again = make()
    again.batch_sampler.pass_number, again.batch_sampler.skip = 1, 2
    batches = EndlessBatches(again, in_vain=0)
    assert [next(batches) for _ in range(10)] == whole[8:]


@pytest.mark.parametrize('workers', [1, 3])
def test_workers_change_nothing(make, workers):
    wanted = list(make())
    cfg = dict(sampler=dict(type='DefaultSampler', shuffle=True),
               batch_size=4, collate_fn=dict(type=pairs),
               num_workers=workers)
    loader = Runner.build_dataloader(dict(cfg, dataset=Numbers()), 5)
    assert list(placed_loader(cfg, loader, 5)) == wanted


def test_processes_share_out_one_order(make, monkeypatch):
    """A place has the same image and noise, of one process or of two."""
    alone = next(iter(make('InfiniteSampler')))
    loaders = []
    for rank in (0, 1):
        for module in ('mmengine.dataset.sampler', placed_batches.__name__):
            monkeypatch.setattr(f'{module}.get_dist_info',
                                lambda rank=rank: (rank, 2))
        loaders.append(list(next(iter(make('InfiniteSampler')))))
    together = [item for pair in zip(*loaders) for item in pair]
    assert together[:4] == alone and len(together) == 8


def test_it_can_be_sent_to_another_process(make):
    loader = make()
    dataset = pickle.loads(pickle.dumps(loader.dataset))
    batch = next(iter(loader.batch_sampler))
    assert dataset.__getitems__(batch) == loader.dataset.__getitems__(batch)


def test_what_cannot_be_placed():
    loader = Runner.build_dataloader(
        dict(dataset=Numbers(), batch_size=4,
             sampler=dict(type='DefaultSampler')), 0)
    assert can_be_placed(dict(sampler=dict(type='DefaultSampler')), loader)
    assert not can_be_placed(loader, loader)
    assert not can_be_placed(None, loader)
    listed = torch.utils.data.DataLoader([1, 2])
    assert not can_be_placed(dict(sampler=dict(type='DefaultSampler')),
                             listed)
    whole = torch.utils.data.DataLoader(Numbers(), batch_size=None)
    assert not can_be_placed(dict(sampler=dict(type='DefaultSampler')), whole)
