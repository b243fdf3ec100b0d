"""Which class a class-conditional teacher is told that an image shows."""
import math
from typing import Any, Dict, List, Optional, Tuple

import torch
from torch import Tensor, nn

from repfusion_mm.models.utils.nearest import nearest

from .label_rows import LabelRows

KEY = 'teacher.class_condition'
CHOICES = ('dict(fixed=207), one class for every image; '
           'dict(average=\'all\') or dict(average=[1, 2, 3]), the mean of '
           'their embeddings; dict(class_map=[281, 207]), the class of each '
           'label')
MODES = ('fixed', 'average', 'class_map')


class ClassCondition(LabelRows):
    """Turns labels into rows of a table of class embeddings.

    A row is the mean of the embeddings of one or more classes, so that an
    average costs one forward pass like any class. The object holds no tensor:
    it is copied freely.

    Args:
        cfg (dict): Exactly one of ``fixed``, ``average`` and ``class_map``,
            as :class:`UNetTeacher` describes them, and with ``class_map``
            also ``leak_labels``.
        num_classes (int): Number of classes that the denoiser knows.
        key (str): The config key. Defaults to ``'teacher.class_condition'``.

    Raises:
        ValueError: If the choice, a class or a label is not valid.
    """

    def __init__(self, cfg: dict, num_classes: int, key: str = KEY) -> None:
        self.key = key
        if not isinstance(cfg, dict):
            raise ValueError(f'`{key}` is {cfg!r}, expected one of: '
                             f'{CHOICES}')
        for name in cfg:
            if name not in (*MODES, 'leak_labels'):
                near = nearest(name, (*MODES, 'leak_labels'))
                raise ValueError(f'`{key}` has no {name!r}; nearest: {near}')
        modes = [mode for mode in MODES if mode in cfg]
        if len(modes) != 1:
            raise ValueError(f'`{key}` takes exactly one of {MODES}, got '
                             f'{modes}: {CHOICES}')
        mode = modes[0]
        value = cfg[mode]
        reads_labels = mode == 'class_map'
        if 'leak_labels' in cfg and not (
                reads_labels and isinstance(cfg['leak_labels'], bool)):
            raise ValueError(f'`{key}.leak_labels` is {cfg["leak_labels"]!r} '
                             f'beside `{mode}`, expected True or False beside '
                             '`class_map`')
        row_of: Optional[Dict[int, int]] = None
        if mode == 'fixed':
            classes = [value]
        elif mode == 'average' and value == 'all':
            classes = list(range(num_classes))
        elif mode == 'class_map' and isinstance(value, dict):
            row_of, classes = self._map(value)
        elif isinstance(value, (list, tuple)):
            classes = list(value)
            if reads_labels:
                row_of, classes = self._map(dict(enumerate(value)))
        else:
            raise ValueError(f'`{key}.{mode}` is {value!r}: {CHOICES}')
        if not classes:
            raise ValueError(f'`{key}.{mode}` is empty: {CHOICES}')
        for index in classes:
            if not (_is_index(index) and index < num_classes):
                raise ValueError(
                    f'`{key}.{mode}` names the class {index!r}, but the '
                    f'denoiser knows 0 to {num_classes - 1}')
        # one row for each label, then the average, which -1 gets too; labels
        # that are not mapped get one of NaN behind them
        self._rows: List[List[int]] = [
            [index] for index in classes if reads_labels]
        self._rows.append(list(dict.fromkeys(classes)))
        super().__init__(f'{key}.{mode}', row_of, len(self._rows),
                         cfg.get('leak_labels', False))

    def _map(self, class_of: dict) -> Tuple[Dict[int, int], list]:
        for label in class_of:
            if not _is_index(label):
                raise ValueError(
                    f'`{self.key}.class_map` maps {label!r}, expected labels '
                    'from 0 on; images without a label, -1, get the average '
                    'over the mapped classes')
        row_of = {label: row for row, label in enumerate(class_of)}
        row_of[-1] = len(class_of)
        return row_of, list(class_of.values())

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


def settle_class_condition(
        cfg: Optional[dict],
        num_classes: Optional[int],
        key: str = KEY) -> Optional[ClassCondition]:
    """The class condition of a denoiser that needs one.

    Args:
        cfg (dict, optional): As for :class:`ClassCondition`.
        num_classes (int, optional): Number of classes that the denoiser
            knows; None if it is unconditional.
        key (str): The config key. Defaults to ``'teacher.class_condition'``.

    Returns:
        ClassCondition, optional: None for an unconditional denoiser.

    Raises:
        ValueError: If a conditional denoiser has no class condition, or an
            unconditional one has.
    """
    if num_classes is None:
        if cfg is not None:
            raise ValueError(f'`{key}` is {cfg}, but the denoiser is '
                             'unconditional; leave it out')
        return None
    if cfg is None:
        # the released ones were trained without a class that says nothing
        raise ValueError(f'`{key}` is needed: the denoiser is '
                         f'class-conditional ({num_classes} classes) and must '
                         f'be told what it sees. One of: {CHOICES}')
    return ClassCondition(cfg, num_classes, key)


def _is_index(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) \
        and value >= 0
