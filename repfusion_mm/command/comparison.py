"""Classifiers from the distilled backbone and from scratch, compared."""
import copy
from typing import Any, Dict, List

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.registry import init_default_scope
from mmengine.runner import Runner, load_checkpoint

from repfusion_mm.analysis.will_it_pay import interval
from repfusion_mm.registry import MODELS

# what a classifier starts from, and how long it is trained
ARMS = dict(
    distilled='from the distilled backbone',
    scratch='from scratch',
    scratch_long='from scratch, steps of both')


def answers(cfg: Config, checkpoint: str) -> List[int]:
    """Which held-out images a classifier names rightly.

    Args:
        cfg (Config): Of its training, with ``test_dataloader``.
        checkpoint (str): Its weights.

    Returns:
        list[int]: 1 or 0 of each image, in the order of the data set.
    """
    init_default_scope(cfg.default_scope)
    model_cfg = copy.deepcopy(cfg.model)
    model_cfg.backbone.pop('init_cfg', None)
    model = MODELS.build(model_cfg)
    load_checkpoint(model, checkpoint, map_location='cpu', logger='silent')
    model.to(get_device()).eval()
    loader = dict(cfg.test_dataloader, num_workers=0)
    loader.pop('pin_memory', None)
    right: List[int] = []
    with torch.no_grad():
        for batch in Runner.build_dataloader(loader, seed=0):
            right += [int(sample.pred_label.item() == sample.gt_label.item())
                      for sample in model.test_step(batch)]
    return right


def compared(right: Dict[str, List[int]]) -> List[Dict[str, Any]]:
    """The arms' accuracies, and how far ahead the distilled one is.

    Args:
        right (dict[str, list[int]]): By arm, as of :func:`answers`.

    Returns:
        list[dict]: For each arm ``arm``, ``accuracy`` in percent and, of
        those from scratch, ``gain``, ``low`` and ``high``: points that the
        distilled one is above, and the 90 percent interval over the images.
    """
    rows = []
    for arm, own in right.items():
        row: Dict[str, Any] = dict(arm=arm, accuracy=100 * sum(own) / len(own))
        if arm != 'distilled':
            row.update({key: 100 * value for key, value in interval(
                (torch.tensor(right['distilled']) -
                 torch.tensor(own)).double()).items()})
        rows.append(row)
    return rows
