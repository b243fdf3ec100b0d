"""What a feature bank is a bank of, and whether that is still so."""
import hashlib
import inspect
import json
import os
import os.path as osp
from typing import Iterable, Tuple

import torch
from torch import Tensor

from repfusion_mm.registry import MODELS

from .store import FeatureBank

PLACES = ('pretrained', 'checkpoint')  # of a teacher's weights
CHOICES = ('variant', 'revision')  # among the weights that are there
# what its weights and the bank's own key say better, and what changes nothing
NO_SETTINGS = (*PLACES, *CHOICES, 'config', 'taps', 'channels_last', 'compile',
               'condition_dir')
KEYS = dict(
    teacher='the settings of `teacher.teacher`',
    weights='the weights of `teacher.teacher`, by their hash',
    taps='the taps of the connections and the reward',
    timesteps='`teacher.timesteps`',
    bin_width='`teacher.bin_width`',
    flips='`teacher.flips`',
    images='the number of images in `teacher.dataset`',
    dataset='`teacher.dataset`, its images, pipeline or channel order, by '
    'their hash')


def settings(cfg: dict) -> dict:
    """What a teacher's config says of its features, beside its weights.

    Args:
        cfg (dict): Of the teacher.

    Returns:
        dict: Its arguments with their defaults, as JSON gives them back.
    """
    cls = MODELS.get(cfg['type'])
    defaults = {name: p.default for name, p
                in inspect.signature(cls).parameters.items()
                if p.default is not p.empty}
    chosen = {name: value for name, value in {**defaults, **cfg}.items()
              if name not in NO_SETTINGS}
    return json.loads(json.dumps(chosen, default=str))


def places(cfg: dict) -> list:
    """Where a teacher's weights are, and what tells that they changed.

    Args:
        cfg (dict): Of the teacher.

    Returns:
        list: Each place, with size and time of its files.
    """
    found = []
    for name in PLACES:
        path = cfg.get(name)
        files = [osp.join(folder, file) for folder, _, names
                 in os.walk(path or '') for file in names] or [path or '']
        stats = [(os.stat(file).st_size, os.stat(file).st_mtime_ns)
                 for file in files if osp.isfile(file)]
        found.append([path, sorted(stats)])
    found += [[name, cfg[name]] for name in CHOICES if cfg.get(name)]
    return json.loads(json.dumps(found))


def weights_hash(weights: Iterable[Tuple[str, Tensor]]) -> str:
    """A hash of all weights of a teacher, whichever file they came in.

    Args:
        weights (Iterable[tuple[str, Tensor]]): Their names and they.

    Returns:
        str: SHA-256, in hexadecimal.
    """
    digest = hashlib.sha256()
    for name, value in sorted(weights, key=lambda one: one[0]):
        value = value.detach().cpu().contiguous()
        digest.update(f'{name} {value.dtype} {tuple(value.shape)}'.encode())
        # flat: a 1x1 kernel in channels-last has no stride 1 at the end
        digest.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def compare(bank: FeatureBank, key: dict) -> None:
    """Refuse a bank of something else, and say what differs.

    Args:
        bank (FeatureBank): The bank.
        key (dict): What is wanted, by the names of ``KEYS``; those that it
            leaves out are not compared.

    Raises:
        ValueError: If the bank is of something else.
    """
    wrong = []
    for name, what in KEYS.items():
        if name in key and bank.key[name] != key[name]:
            before, now = bank.key[name], key[name]
            if name == 'teacher':
                differ = [one for one in {**before, **now}
                          if before.get(one) != now.get(one)]
                before, now = ({one: side.get(one) for one in differ}
                               for side in (before, now))
            wrong.append(f'{what}: {before} there, {now} now')
    if wrong:
        raise ValueError(
            f'`teacher.bank` {bank.folder!r} was filled with something else. '
            f'{"; ".join(wrong)}. Name another folder, which is then filled, '
            'or delete this one')
