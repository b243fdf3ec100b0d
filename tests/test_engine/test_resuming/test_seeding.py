"""Random numbers by where they are drawn."""
import pickle
import random

import numpy as np
import torch

from repfusion_mm.engine.resuming.seeding import SeededItems, seed_all


def numbers():
    return random.random(), np.random.random(), float(torch.rand(1))


def test_only_where_counts():
    seed_all(0, 7)
    wanted = numbers()
    numbers()
    seed_all(0, 7)
    assert numbers() == wanted
    for other in ((0, 8), (1, 7), (0, 7, 0), (70, ), (0, 7 + 2**32)):
        seed_all(*other)
        for one, same in zip(numbers(), wanted):
            assert one != same


def test_numbers_are_spread():
    """Neighbouring places are as good as one generator's numbers."""
    drawn = []
    for place in range(4000):
        seed_all(0, 0, place)
        drawn.append(numbers())
    drawn = np.array(drawn)
    # mean, variance and serial correlation of uniform numbers, at 5 sigma
    assert np.abs(drawn.mean(0) - 0.5).max() < 5 / np.sqrt(12 * 4000)
    assert np.abs(drawn.var(0) - 1 / 12).max() < 5 * np.sqrt(1 / 180 / 4000)
    for column in drawn.T:
        assert abs(np.corrcoef(column[1:], column[:-1])[0, 1]) < \
            5 / np.sqrt(4000)
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert abs(np.corrcoef(drawn[:, one], drawn[:, other])[0, 1]) < \
            5 / np.sqrt(4000)


class Noise:
    """A data set that is random."""

    def __len__(self):
        return 10

    def __getitem__(self, index):
        return index, numbers()


class Whole(Noise):
    """One that loads whole batches."""

    def __getitems__(self, indices):
        return [self[index] for index in indices]


def test_items_do_not_know_each_other():
    items = SeededItems(Noise())
    batch = [((0, 0, place), index) for place, index in enumerate('abcd')]
    whole = items(batch)
    assert [index for index, _ in whole] == list('abcd')
    assert items(batch[2:]) + items(batch[:2]) == whole[2:] + whole[:2]
    assert pickle.loads(pickle.dumps(items))(batch) == whole


def test_data_set_that_loads_whole_batches():
    items = SeededItems(Whole())
    batch = [((0, 0, place), index) for place, index in enumerate('abcd')]
    numbers()
    first = items(batch)
    assert [index for index, _ in first] == list('abcd')
    numbers()
    assert items(batch) == first
