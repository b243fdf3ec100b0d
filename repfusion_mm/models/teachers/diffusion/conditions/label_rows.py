"""Which row of a table of conditions each image gets, by its label."""
from typing import Any, Dict, Iterable, Optional

import numpy as np
import torch
from torch import Tensor


class LabelRows:
    """One row for all images, or one for each label.

    The object holds no tensor: it is copied freely. Where the label is read,
    images without one, -1, have a row too, and behind all rows there must be
    one of NaN, for labels that nobody has looked at and that have no row: it
    stops the training.

    Args:
        key (str): The config key, for error messages.
        row_of (dict[int, int], optional): Row of each label and of -1; None
            if all images have row 0.
        num_rows (int): Rows of the table, without that of NaN.
        allows_label_leak (bool): Whether the user has accepted that a reward
            reads from the features the label that went into them.

    Attributes:
        reads_labels (bool): Whether the row depends on the label.
    """

    def __init__(self, key: str, row_of: Optional[Dict[int, int]],
                 num_rows: int, allows_label_leak: bool = False) -> None:
        self.key = key
        self.reads_labels = row_of is not None
        self.allows_label_leak = allows_label_leak
        self.num_rows = num_rows
        self._row_of = row_of or {}

    def rows(self, images: Tensor, labels: Optional[Tensor]) -> Tensor:
        """The row of the table for each image.

        Args:
            images (Tensor): (N, C, H, W); only N and the device are read.
            labels (Tensor, optional): Long, (N,), -1 where there is none.

        Returns:
            Tensor: Long, (N,).

        Raises:
            ValueError: If the row depends on the label, and there are not
                N labels or, on a CPU, one of them is not mapped.
        """
        if not self.reads_labels:
            return torch.zeros(len(images), dtype=torch.long,
                               device=images.device)
        if labels is None or labels.shape != (len(images), ):
            given = None if labels is None else tuple(labels.shape)
            raise ValueError(
                f'`{self.key}` needs `labels` of shape '
                f'{(len(images), )}, -1 where an image has none; got {given}')
        if labels.device.type == 'cpu':
            self.check_labels(labels.tolist())
        # a GPU would have to be waited for: labels that are not mapped, and
        # that nobody has looked at before, get the row of NaN, which stops
        # the training; an index out of range would wrap or end the process
        first, last = min(self._row_of) - 1, max(self._row_of) + 1
        table = torch.full((last - first + 1, ), self.num_rows)
        table[torch.tensor(list(self._row_of)) - first] = torch.tensor(
            list(self._row_of.values()))
        return table.to(images.device, non_blocking=True)[
            labels.to(images.device).clamp(first, last) - first]

    def check_labels(self, labels: Iterable[int], whose: str = '') -> None:
        """Refuse a label that has no row.

        Args:
            labels (Iterable[int]): Labels, -1 where there is none.
            whose (str): What has them, for the error message. Defaults to
                ``''``.

        Raises:
            ValueError: If there is one.
        """
        for label in labels:
            if label not in self._row_of:
                mapped = sorted(self._row_of)[1:]
                raise ValueError(
                    f'`{self.key}` has no entry for the label {label}'
                    f'{whose}, only for {", ".join(map(str, mapped[:10]))}'
                    f'{", ..." if len(mapped) > 10 else ""}')

    def check_dataset(self, dataset: Any) -> None:
        """Look at every label of the training's data set.

        Args:
            dataset: Of the training; one without ``get_data_info`` is not
                looked at, nor is an image without ``gt_label``.

        Raises:
            ValueError: If one is not mapped. The image is named.
        """
        if not hasattr(dataset, 'get_data_info'):
            return
        for index in range(len(dataset)):
            info = dataset.get_data_info(index)
            labels = info.get('gt_label')
            path = info.get('img_path')
            self.check_labels(
                [] if labels is None else np.atleast_1d(labels).tolist(),
                f' of image {index}' + (f' ({path})' if path else '')
                + ' of `train_dataloader.dataset`')
