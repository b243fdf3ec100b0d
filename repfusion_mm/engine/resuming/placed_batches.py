"""Batches of a training, from any place of it on."""
from itertools import islice
from typing import Any, Iterator, List, Tuple

from mmengine.dist import get_dist_info
from torch.utils.data import DataLoader, Sampler


class PlacedBatches(Sampler):
    """The batches of another batch sampler, and where each image stands.

    An image's place is its number in what all processes draw together, so that
    it does not depend on how many these are, if they share out one order among
    them as MMEngine's samplers do.

    Args:
        batch_sampler: Of torch, or of any library.
        seed (int): Of the images' random numbers.

    Attributes:
        pass_number (int): Which pass over the images the next one is, from 0.
        skip (int): Batches that the next pass leaves out at its beginning.
    """

    def __init__(self, batch_sampler: Any, seed: int) -> None:
        self.batch_sampler = batch_sampler
        self.sampler = batch_sampler.sampler  # MMEngine sets its epoch
        self.batch_size = getattr(batch_sampler, 'batch_size', 1)
        self.seed = seed
        self.pass_number = 0
        self.skip = 0

    def __len__(self) -> int:
        return len(self.batch_sampler)

    def __iter__(self) -> Iterator[List[Tuple[tuple, Any]]]:
        rank, processes = get_dist_info()
        batches = iter(self.batch_sampler)
        left_out = sum(len(batch) for batch in islice(batches, self.skip))
        self.skip = 0
        place = rank + processes * left_out
        for batch in batches:
            yield [((self.seed, self.pass_number, place + processes * i),
                    index) for i, index in enumerate(batch)]
            place += processes * len(batch)


class EndlessBatches:
    """Passes over a loader, one after another, for ``IterBasedTrainLoop``.

    Args:
        loader (DataLoader): Of :class:`PlacedBatches`, which stand where the
            training is to go on.
        in_vain (int): So many batches the loop draws before it begins, to
            pass over what a training that is resumed has seen: MMEngine
            0.10.7 does. They are not loaded.
    """

    def __init__(self, loader: DataLoader, in_vain: int) -> None:
        self._loader = loader
        self._batches: Any = loader.batch_sampler
        self._in_vain = in_vain
        self._iterator: Any = None

    def __iter__(self) -> 'EndlessBatches':
        return self

    def __next__(self) -> Any:
        if self._in_vain:
            self._in_vain -= 1
            return None
        if self._iterator is None:
            self._begin_pass()
        try:
            return next(self._iterator)
        except StopIteration:
            self._batches.pass_number += 1
            self._begin_pass()
            return next(self._iterator)

    def skip_iter(self, num_iters: int) -> None:
        """Nothing: the batches begin where the training does.

        Args:
            num_iters (int): What newer MMEngines want to leave out.
        """

    def _begin_pass(self) -> None:
        if hasattr(self._batches.sampler, 'set_epoch'):
            self._batches.sampler.set_epoch(self._batches.pass_number)
        self._iterator = iter(self._loader)
