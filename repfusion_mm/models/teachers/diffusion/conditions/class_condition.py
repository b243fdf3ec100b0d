"""Which class a class-conditional teacher is told that an image shows."""
import math
from typing import Any, Dict, Iterable, List, Optional

import numpy as np
import torch
from torch import Tensor, nn

from repfusion_mm.models.utils.nearest import nearest

KEY = 'teacher.class_condition'
CHOICES = ('dict(fixed=207), one class for every image; '
           'dict(average=\'all\') or dict(average=[1, 2, 3]), the mean of '
           'their embeddings; dict(class_map=[281, 207]), the class of each '
           'label')
MODES = ('fixed', 'average', 'class_map')


class ClassCondition:
    """Turns labels into rows of a table of class embeddings.

    A row is the mean of the embeddings of one or more classes, so that an
    average costs one forward pass like any class. The object holds no tensor:
    it is copied freely.

    Args:
        cfg (dict): Exactly one of ``fixed``, ``average`` and ``class_map``,
            as :class:`UNetTeacher` describes them, and with ``class_map``
            also ``leak_labels``.
        num_classes (int): Number of classes that the denoiser knows.

    Attributes:
        reads_labels (bool): Whether the class depends on the label.
        allows_label_leak (bool): Whether the user has accepted that a reward
            reads from the features the label that went into them.

    Raises:
        ValueError: If the choice, a class or a label is not valid.
    """

    def __init__(self, cfg: dict, num_classes: int) -> None:
        if not isinstance(cfg, dict):
            raise ValueError(f'`{KEY}` is {cfg!r}, expected one of: '
                             f'{CHOICES}')
        for name in cfg:
            if name not in (*MODES, 'leak_labels'):
                near = nearest(name, (*MODES, 'leak_labels'))
                raise ValueError(f'`{KEY}` has no {name!r}; nearest: {near}')
        modes = [mode for mode in MODES if mode in cfg]
        if len(modes) != 1:
            raise ValueError(f'`{KEY}` takes exactly one of {MODES}, got '
                             f'{modes}: {CHOICES}')
        mode = modes[0]
        value = cfg[mode]
        self.reads_labels = mode == 'class_map'
        self.allows_label_leak = cfg.get('leak_labels', False)
        if 'leak_labels' in cfg and not (
                self.reads_labels and isinstance(cfg['leak_labels'], bool)):
            raise ValueError(f'`{KEY}.leak_labels` is {cfg["leak_labels"]!r} '
                             f'beside `{mode}`, expected True or False beside '
                             '`class_map`')
        self._row_of: Dict[int, int] = {}
        if mode == 'fixed':
            classes = [value]
        elif mode == 'average' and value == 'all':
            classes = list(range(num_classes))
        elif mode == 'class_map' and isinstance(value, dict):
            classes = self._map(value)
        elif isinstance(value, (list, tuple)):
            classes = list(value)
            if self.reads_labels:
                classes = self._map(dict(enumerate(value)))
        else:
            raise ValueError(f'`{KEY}.{mode}` is {value!r}: {CHOICES}')
        if not classes:
            raise ValueError(f'`{KEY}.{mode}` is empty: {CHOICES}')
        for index in classes:
            if not (_is_index(index) and index < num_classes):
                raise ValueError(
                    f'`{KEY}.{mode}` names the class {index!r}, but the '
                    f'denoiser knows 0 to {num_classes - 1}')
        # one row for each label, then the average, which -1 gets too; labels
        # that are not mapped get one of NaN behind them
        self._rows: List[List[int]] = [
            [index] for index in classes if self.reads_labels]
        self._rows.append(list(dict.fromkeys(classes)))

    def _map(self, class_of: dict) -> list:
        for label in class_of:
            if not _is_index(label):
                raise ValueError(
                    f'`{KEY}.class_map` maps {label!r}, expected labels from '
                    '0 on; images without a label, -1, get the average over '
                    'the mapped classes')
        self._row_of = {label: row for row, label in enumerate(class_of)}
        self._row_of[-1] = len(class_of)
        return list(class_of.values())

    def embedding(self, weight: Tensor) -> nn.Embedding:
        """The table to put in place of the denoiser's embedding of classes.

        Args:
            weight (Tensor): Embedding of each class, (num_classes, D).

        Returns:
            nn.Embedding: Its rows are those that :meth:`rows` names; a row of
            one class is that class's embedding, bit by bit.
        """
        means = [weight[row].double().mean(0) for row in self._rows]
        if self.reads_labels:
            means.append(torch.full_like(means[0], math.nan))
        return nn.Embedding.from_pretrained(torch.stack(means).to(weight))

    def rows(self, images: Tensor, labels: Optional[Tensor]) -> Tensor:
        """The row of the table for each image.

        Args:
            images (Tensor): (N, C, H, W); only N and the device are read.
            labels (Tensor, optional): Long, (N,), -1 where there is none.

        Returns:
            Tensor: Long, (N,).

        Raises:
            ValueError: If the class depends on the label, and there are not
                N labels or, on a CPU, one of them is not mapped.
        """
        if not self.reads_labels:
            return torch.zeros(len(images), dtype=torch.long,
                               device=images.device)
        if labels is None or labels.shape != (len(images), ):
            given = None if labels is None else tuple(labels.shape)
            raise ValueError(
                f'`{KEY}.class_map` needs `labels` of shape '
                f'{(len(images), )}, -1 where an image has none; got {given}')
        if labels.device.type == 'cpu':
            self.check_labels(labels.tolist())
        # a GPU would have to be waited for: labels that are not mapped, and
        # that nobody has looked at before, get the row of NaN, which stops
        # the training; an index out of range would wrap or end the process
        first, last = min(self._row_of) - 1, max(self._row_of) + 1
        table = torch.full((last - first + 1, ), len(self._rows))
        table[torch.tensor(list(self._row_of)) - first] = torch.tensor(
            list(self._row_of.values()))
        return table.to(images.device, non_blocking=True)[
            labels.to(images.device).clamp(first, last) - first]

    def check_labels(self, labels: Iterable[int], whose: str = '') -> None:
        """Refuse a label that no class is given for.

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
                    f'`{KEY}.class_map` has no entry for the label {label}'
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


def settle_class_condition(
        cfg: Optional[dict],
        num_classes: Optional[int]) -> Optional[ClassCondition]:
    """The class condition of a denoiser that needs one.

    Args:
        cfg (dict, optional): As for :class:`ClassCondition`.
        num_classes (int, optional): Number of classes that the denoiser
            knows; None if it is unconditional.

    Returns:
        ClassCondition, optional: None for an unconditional denoiser.

    Raises:
        ValueError: If a conditional denoiser has no class condition, or an
            unconditional one has.
    """
    if num_classes is None:
        if cfg is not None:
            raise ValueError(f'`{KEY}` is {cfg}, but the denoiser is '
                             'unconditional; leave it out')
        return None
    if cfg is None:
        # the released ones were trained without a class that says nothing
        raise ValueError(f'`{KEY}` is needed: the denoiser is '
                         f'class-conditional ({num_classes} classes) and must '
                         f'be told what it sees. One of: {CHOICES}')
    return ClassCondition(cfg, num_classes)


def _is_index(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) \
        and value >= 0
