"""Random numbers that depend on where in the training they are drawn."""
import hashlib
import random
from typing import Any, List, Sequence, Tuple

import numpy as np
import torch


def seed_all(*where: int) -> None:
    """Seed Python's, NumPy's and torch's generators, some 10 us of work.

    Args:
        *where (int): What the numbers that are drawn next depend on, and
            nothing else: a seed, and the place in the training.
    """
    seed = int.from_bytes(hashlib.blake2b(
        repr(where).encode(), digest_size=8).digest(), 'little')
    random.seed(seed)
    np.random.seed(seed % 2**32)
    # torch.manual_seed, which also seeds devices that nobody uses, takes 250
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():  # not so in a worker
        torch.cuda.manual_seed(seed)


class SeededItems:
    """Loads the images of a batch, each from random numbers of its own.

    It is the ``__getitems__`` of a data set, which torch's loader asks for a
    whole batch, in a worker or not.

    Args:
        dataset: A data set with a length.
    """

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset
        # of a data set that loads whole batches itself
        self.whole = getattr(dataset, '__getitems__', None)

    def __call__(self, batch: Sequence[Tuple[tuple, Any]]) -> List[Any]:
        """Load a batch.

        Args:
            batch (Sequence[tuple]): For each image where in the training it
                is drawn, as of :func:`seed_all`, and its index.

        Returns:
            list: What the data set gives for each.
        """
        if self.whole is not None:
            seed_all(*batch[0][0])
            return self.whole([index for _, index in batch])
        items = []
        for where, index in batch:
            seed_all(*where)
            items.append(self.dataset[index])
        return items
